package expr

import (
	"math"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// listFunctions declares
//
//	number(x)               a number, or the text of one, as a double
//	sum(list)               0 for the empty list
//	mean(list), min(list), max(list)
//	last(list, n)           the last n items; fewer when there are fewer
//	column(rows, "Close")   that key of every row, as numbers
//	sma(list, n)            the mean of the last n numbers
//	sma(list, n, offset)    the same, offset items before the end
//
// Arguments are dyn on purpose: a count that came through JSON as 3.0 is as
// good as 3, and a wrong one is refused here with words.
func listFunctions() []cel.EnvOption {
	list := cel.ListType(cel.DynType)
	return []cel.EnvOption{
		cel.Function("number", cel.Overload("number_dyn", []*cel.Type{cel.DynType}, cel.DoubleType, cel.UnaryBinding(number))),
		cel.Function("sum", cel.Overload("sum_list", []*cel.Type{list}, cel.DynType, cel.UnaryBinding(sum))),
		cel.Function("mean", cel.Overload("mean_list", []*cel.Type{list}, cel.DoubleType, cel.UnaryBinding(mean))),
		cel.Function("min", cel.Overload("min_list", []*cel.Type{list}, cel.DynType, cel.UnaryBinding(extreme("min", -1)))),
		cel.Function("max", cel.Overload("max_list", []*cel.Type{list}, cel.DynType, cel.UnaryBinding(extreme("max", 1)))),
		cel.Function("last", cel.Overload("last_list_n", []*cel.Type{list, cel.DynType}, list, cel.BinaryBinding(last))),
		cel.Function("column", cel.Overload("column_list_string", []*cel.Type{list, cel.StringType}, cel.ListType(cel.DoubleType), cel.BinaryBinding(column))),
		cel.Function("sma",
			cel.Overload("sma_list_n", []*cel.Type{list, cel.DynType}, cel.DoubleType, cel.FunctionBinding(sma)),
			cel.Overload("sma_list_n_offset", []*cel.Type{list, cel.DynType, cel.DynType}, cel.DoubleType, cel.FunctionBinding(sma))),
	}
}

func number(v ref.Val) ref.Val {
	if f, ok := asFloat(v); ok {
		return types.Double(f)
	}
	s, ok := v.(types.String)
	if !ok {
		return types.NewErr("number: a %s is not a number", v.Type().TypeName())
	}
	f, err := strconv.ParseFloat(string(s), 64)
	if err != nil || strings.Trim(string(s), "0123456789+-.eE") != "" {
		return types.NewErr("number: %s is not a decimal number", strconv.Quote(clip(string(s))))
	}
	return types.Double(f)
}

func sum(v ref.Val) ref.Val {
	var total ref.Val = types.Int(0)
	err := each("sum", v, func(_ int, item ref.Val) ref.Val {
		l, r := promote(total, item)
		total = l.(traits.Adder).Add(r)
		return failed(total)
	})
	if err != nil {
		return err
	}
	return total
}

func mean(v ref.Val) ref.Val {
	n := length(v)
	if n == 0 {
		return types.NewErr("mean: the list is empty")
	}
	return meanOf("mean", v.(traits.Lister), 0, n)
}

func extreme(name string, sign int) func(ref.Val) ref.Val {
	return func(v ref.Val) ref.Val {
		var best ref.Val
		err := each(name, v, func(_ int, item ref.Val) ref.Val {
			if best == nil || item.(traits.Comparer).Compare(best) == types.Int(sign) {
				best = item
			}
			return nil
		})
		switch {
		case err != nil:
			return err
		case best == nil:
			return types.NewErr("%s: the list is empty", name)
		}
		return best
	}
}

func last(v, count ref.Val) ref.Val {
	n, err := whole("last: the count", count, 0)
	if err != nil {
		return err
	}
	l := v.(traits.Lister)
	size := length(v)
	out := make([]ref.Val, 0, min(n, size))
	for i := max(0, size-n); i < size; i++ {
		out = append(out, l.Get(types.Int(i)))
	}
	return types.DefaultTypeAdapter.NativeToValue(out)
}

func column(rows, key ref.Val) ref.Val {
	l := rows.(traits.Lister)
	n := length(rows)
	out := make([]float64, n)
	for i := range n {
		m, ok := l.Get(types.Int(i)).(traits.Mapper)
		if !ok {
			return types.NewErr("column: row %d is not an object", i)
		}
		cell, ok := m.Find(key)
		if !ok {
			return types.NewErr("column: row %d has no %q", i, clip(string(key.(types.String))))
		}
		f, ok := number(cell).(types.Double)
		if !ok {
			return types.NewErr("column: row %d: %q is not a number: %s", i, clip(string(key.(types.String))), describe(cell))
		}
		out[i] = float64(f)
	}
	return types.DefaultTypeAdapter.NativeToValue(out)
}

func sma(args ...ref.Val) ref.Val {
	n, err := whole("sma: the window", args[1], 1)
	if err != nil {
		return err
	}
	offset := 0
	if len(args) == 3 {
		if offset, err = whole("sma: the offset", args[2], 0); err != nil {
			return err
		}
	}
	size := length(args[0])
	if size-offset < n {
		return types.NewErr("sma: a window of %d at offset %d needs %d numbers; the list has %d", n, offset, n+offset, size)
	}
	return meanOf("sma", args[0].(traits.Lister), size-offset-n, size-offset)
}

// meanOf adds oldest first, always in the same order, so that equal windows
// give equal bits wherever they stand.
func meanOf(name string, l traits.Lister, from, to int) ref.Val {
	total := 0.0
	for i := from; i < to; i++ {
		f, ok := asFloat(l.Get(types.Int(i)))
		if !ok {
			return notNumber(name, i, l.Get(types.Int(i)))
		}
		total += f
	}
	return types.Double(total / float64(to-from))
}

func each(name string, v ref.Val, visit func(int, ref.Val) ref.Val) ref.Val {
	l := v.(traits.Lister)
	for i := range length(v) {
		item := l.Get(types.Int(i))
		if _, ok := asFloat(item); !ok {
			return notNumber(name, i, item)
		}
		if err := visit(i, item); err != nil {
			return err
		}
	}
	return nil
}

func notNumber(name string, i int, item ref.Val) ref.Val {
	return types.NewErr("%s: item %d is not a number: %s; convert it with number() or column()", name, i, describe(item))
}

// whole reads a count of at least low. The upper bound keeps sums of two counts
// inside an int.
func whole(what string, v ref.Val, low int) (int, ref.Val) {
	f, ok := asFloat(v)
	if !ok || f != math.Trunc(f) || f < float64(low) || f > math.MaxInt32 {
		return 0, types.NewErr("%s must be a whole number of at least %d: %s", what, low, describe(v))
	}
	return int(f), nil
}

func length(v ref.Val) int {
	n, _ := v.(traits.Sizer).Size().(types.Int)
	return int(n)
}

func failed(v ref.Val) ref.Val {
	if types.IsError(v) {
		return v
	}
	return nil
}

func describe(v ref.Val) string {
	switch x := v.(type) {
	case types.String:
		return "the string " + strconv.Quote(clip(string(x)))
	case types.Int, types.Uint, types.Double, types.Bool:
		return clip(strings.TrimSpace(string(x.ConvertToType(types.StringType).(types.String))))
	}
	return "a " + v.Type().TypeName()
}

func clip(s string) string {
	if len(s) > 48 {
		return strings.ToValidUTF8(s[:48], "") + "…"
	}
	return s
}
