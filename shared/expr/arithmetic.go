package expr

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// arithmetic declares + - * / anew: the overloads of plain CEL under their own
// names, so that its cost model goes on to know them, and besides them integers
// mixed with doubles.
func arithmetic() []cel.EnvOption {
	list := cel.ListType(cel.TypeParamType("A"))
	over := func(id string, l, r, result *cel.Type) cel.FunctionOpt {
		return cel.Overload(id, []*cel.Type{l, r}, result)
	}
	mixed := func(name string) []cel.FunctionOpt {
		return []cel.FunctionOpt{
			over(name+"_int64_double", cel.IntType, cel.DoubleType, cel.DoubleType),
			over(name+"_double_int64", cel.DoubleType, cel.IntType, cel.DoubleType),
		}
	}
	return []cel.EnvOption{
		cel.Function(operators.Add, append(mixed("add"),
			over(overloads.AddBytes, cel.BytesType, cel.BytesType, cel.BytesType),
			over(overloads.AddDouble, cel.DoubleType, cel.DoubleType, cel.DoubleType),
			over(overloads.AddDurationDuration, cel.DurationType, cel.DurationType, cel.DurationType),
			over(overloads.AddDurationTimestamp, cel.DurationType, cel.TimestampType, cel.TimestampType),
			over(overloads.AddTimestampDuration, cel.TimestampType, cel.DurationType, cel.TimestampType),
			over(overloads.AddInt64, cel.IntType, cel.IntType, cel.IntType),
			over(overloads.AddList, list, list, list),
			over(overloads.AddString, cel.StringType, cel.StringType, cel.StringType),
			over(overloads.AddUint64, cel.UintType, cel.UintType, cel.UintType),
			cel.SingletonBinaryBinding(func(l, r ref.Val) ref.Val {
				l, r = promote(l, r)
				if a, ok := l.(traits.Adder); ok {
					return a.Add(r)
				}
				return noOverload("+", l, r)
			}))...),
		cel.Function(operators.Subtract, append(mixed("subtract"),
			over(overloads.SubtractDouble, cel.DoubleType, cel.DoubleType, cel.DoubleType),
			over(overloads.SubtractDurationDuration, cel.DurationType, cel.DurationType, cel.DurationType),
			over(overloads.SubtractInt64, cel.IntType, cel.IntType, cel.IntType),
			over(overloads.SubtractTimestampDuration, cel.TimestampType, cel.DurationType, cel.TimestampType),
			over(overloads.SubtractTimestampTimestamp, cel.TimestampType, cel.TimestampType, cel.DurationType),
			over(overloads.SubtractUint64, cel.UintType, cel.UintType, cel.UintType),
			cel.SingletonBinaryBinding(func(l, r ref.Val) ref.Val {
				l, r = promote(l, r)
				if a, ok := l.(traits.Subtractor); ok {
					return a.Subtract(r)
				}
				return noOverload("-", l, r)
			}))...),
		cel.Function(operators.Multiply, append(mixed("multiply"),
			over(overloads.MultiplyDouble, cel.DoubleType, cel.DoubleType, cel.DoubleType),
			over(overloads.MultiplyInt64, cel.IntType, cel.IntType, cel.IntType),
			over(overloads.MultiplyUint64, cel.UintType, cel.UintType, cel.UintType),
			cel.SingletonBinaryBinding(func(l, r ref.Val) ref.Val {
				l, r = promote(l, r)
				if a, ok := l.(traits.Multiplier); ok {
					return a.Multiply(r)
				}
				return noOverload("*", l, r)
			}))...),
		cel.Function(operators.Divide, append(mixed("divide"),
			over(overloads.DivideDouble, cel.DoubleType, cel.DoubleType, cel.DoubleType),
			over(overloads.DivideInt64, cel.IntType, cel.IntType, cel.DoubleType),
			over(overloads.DivideUint64, cel.UintType, cel.UintType, cel.DoubleType),
			cel.SingletonBinaryBinding(divide))...),
	}
}

func divide(l, r ref.Val) ref.Val {
	a, okA := asFloat(l)
	b, okB := asFloat(r)
	switch {
	case !okA || !okB:
		return noOverload("/", l, r)
	case b == 0:
		return types.NewErr("division by zero")
	}
	return types.Double(a / b)
}

// promote makes two numbers of different kinds two doubles.
func promote(l, r ref.Val) (ref.Val, ref.Val) {
	if l.Type() == r.Type() {
		return l, r
	}
	a, okA := asFloat(l)
	b, okB := asFloat(r)
	if okA && okB {
		return types.Double(a), types.Double(b)
	}
	return l, r
}

func asFloat(v ref.Val) (float64, bool) {
	switch n := v.(type) {
	case types.Int:
		return float64(n), true
	case types.Uint:
		return float64(n), true
	case types.Double:
		return float64(n), true
	}
	return 0, false
}

func noOverload(op string, l, r ref.Val) ref.Val {
	if types.IsUnknownOrError(l) {
		return l
	}
	if types.IsUnknownOrError(r) {
		return r
	}
	return types.NewErr("no such overload: %s %s %s", l.Type().TypeName(), op, r.Type().TypeName())
}
