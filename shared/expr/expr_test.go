package expr

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func nodeVars(t testing.TB, inputs string) Vars {
	t.Helper()
	v, err := Decode([]byte(inputs))
	if err != nil {
		t.Fatal(err)
	}
	return NodeVars(v.(map[string]any), map[string]any{"fast": int64(2)}, 7,
		time.Date(2024, 3, 1, 9, 30, 0, 0, time.UTC), "0b7c", "btc", "signal")
}

func TestValues(t *testing.T) {
	const inputs = `{"i":7,"d":7.5,"z":0,"dz":0.0,"s":"12.5","xs":[1,2,3,4],"ys":[1.5,2,2.5],
		"rows":[{"Close":"1.5"},{"Close":2},{"Close":3.25}],"big":9007199254740993,"n":null,"o":{"b":1,"a":[true]}}`
	for _, c := range []struct{ src, want string }{
		{`inputs.i`, `7`},
		{`inputs.d * 2`, `15`},
		{`inputs.d * 2 + 0.25`, `15.25`},
		{`inputs.i * 2 + 1`, `15`},
		{`inputs.i / 2`, `3.5`},
		{`7 / 2`, `3.5`},
		{`int(7 / 2)`, `3`},
		{`inputs.i - 0.5`, `6.5`},
		{`2 * 0.5 + 1`, `2`},
		{`inputs.i == 7.0 && 7.0 == inputs.i && inputs.d > 7`, `true`},
		{`inputs.big`, `9007199254740993`},
		{`inputs.big + 1`, `9007199254740994`},
		{`inputs.o`, `{"a":[true],"b":1}`},
		{`{"z": 1, "a": inputs.n}`, `{"a":null,"z":1}`},
		{`{2: "b", 10: "a"}`, `{"10":"a","2":"b"}`},
		{`slot`, `"2024-03-01T09:30:00Z"`},
		{`slot + duration("90s")`, `"2024-03-01T09:31:30Z"`},
		{`duration("90s")`, `"1m30s"`},
		{`b"ab"`, `"YWI="`},
		{`3u`, `3`},
		{`[cycle, flow, node, intent_id]`, `[7,"btc","signal","0b7c"]`},
		{`number("12.5") + number(3) + number(inputs.s)`, `28`},
		{`sum(inputs.xs)`, `10`},
		{`sum(inputs.ys)`, `6`},
		{`sum([])`, `0`},
		{`mean(inputs.xs)`, `2.5`},
		{`min(inputs.ys) + max(inputs.xs)`, `5.5`},
		{`last(inputs.xs, 2)`, `[3,4]`},
		{`last(inputs.xs, 9)`, `[1,2,3,4]`},
		{`last(inputs.xs, 0)`, `[]`},
		{`column(inputs.rows, "Close")`, `[1.5,2,3.25]`},
		{`sma(inputs.xs, params.fast)`, `3.5`},
		{`sma(inputs.xs, 2, 1)`, `2.5`},
		{`sma(column(inputs.rows, "Close"), 3)`, `2.25`},
		{`sma(inputs.xs, 2.0) > sma(inputs.xs, 2, 1)`, `true`},
		{`inputs.?gone.orValue(3)`, `3`},
		{`has(inputs.gone)`, `false`},
		{`math.greatest(1, 2)`, `2`},
		{`"a,b".split(",")`, `["a","b"]`},
		{`[3,1,2].sort()`, `[1,2,3]`},
		{`inputs.rows.map(r, number(r.Close)).filter(x, x > 1.9)`, `[2,3.25]`},
		{`1e21`, `1e+21`},
		{`"<&>"`, "\"\\u003c\\u0026\\u003e\""},
	} {
		t.Run(c.src, func(t *testing.T) {
			p, err := Compile(c.src, Node)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.JSON(t.Context(), nodeVars(t, inputs))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestEvaluationErrors(t *testing.T) {
	const inputs = `{"i":7,"z":0,"dz":0.0,"s":"abc","xs":[1,2],"mixed":[1,"2"],"rows":[{"Close":1},{}],"big":9223372036854775807}`
	for _, c := range []struct{ src, want string }{
		{`inputs.gone > 3`, "no such key: gone"},
		{`inputs.i / inputs.z`, "division by zero"},
		{`inputs.i / inputs.dz > 3`, "division by zero"},
		{`1.0 / 0`, "division by zero"},
		{`inputs.i % inputs.z`, "modulus by zero"},
		{`inputs.s > 3`, "no such overload"},
		{`inputs.s * 2`, "no such overload"},
		{`inputs.s / 2`, "no such overload"},
		{`inputs.s - inputs.i`, "no such overload"},
		{`inputs.big + 1`, "overflow"},
		{`double("NaN")`, "NaN"},
		{`1e308 * 10`, "+Inf"},
		{`number(inputs.s)`, `"abc" is not a decimal number`},
		{`number("0x10")`, "not a decimal number"},
		{`number("inf")`, "not a decimal number"},
		{`number(true)`, "bool is not a number"},
		{`sum(inputs.mixed)`, `item 1 is not a number: the string "2"`},
		{`mean([])`, "empty"},
		{`max([])`, "empty"},
		{`sma(inputs.xs, 3)`, "the list has 2"},
		{`sma(inputs.xs, 2, 1)`, "needs 3 numbers"},
		{`sma(inputs.xs, 0)`, "at least 1"},
		{`sma(inputs.xs, 1.5)`, "whole number"},
		{`sma(inputs.xs, "2")`, "whole number"},
		{`last(inputs.xs, -1)`, "at least 0"},
		{`column(inputs.rows, "Close")`, `row 1 has no "Close"`},
		{`column(inputs.xs, "Close")`, "row 0 is not an object"},
		{`sum(inputs.i)`, "no such overload"},
		{`inputs.?gone`, "orValue"},
		{`type(1)`, "JSON cannot"},
		{`{1: 1, "1": 2}`, "two keys"},
	} {
		t.Run(c.src, func(t *testing.T) {
			p, err := Compile(c.src, Node)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.JSON(t.Context(), nodeVars(t, inputs))
			var ee *EvalError
			if !errors.As(err, &ee) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), clip(ee.Source)[:4]) {
				t.Fatalf("got %s, error %v; want an error with %q", got, err, c.want)
			}
		})
	}
}

func TestSyntaxErrors(t *testing.T) {
	for _, c := range []struct {
		src  string
		kind Kind
		want string
	}{
		{``, When, "is empty"},
		{"  \n", When, "is empty"},
		{`value >`, When, "1:"},
		{`price > 3`, When, "price"},
		{`value + nope(3)`, When, "nope"},
		{`"a" * 2 > 1 && zap`, When, "zap"},
		{`1 + 2`, When, "must yield a bool, yields"},
		{`"x"`, When, "must yield a bool"},
		{`inputs.a > 3`, When, "inputs"},
		{`value`, Node, "value"},
		{`value.matches("(")`, When, ""},
		{strings.Repeat("(", 500) + "1" + strings.Repeat(")", 500), Node, ""},
		{`"` + strings.Repeat("x", MaxSource) + `"`, Node, "at most 4096"},
	} {
		_, err := Compile(c.src, c.kind)
		var se *SyntaxError
		if c.want == "" {
			if err != nil && !errors.As(err, &se) {
				t.Errorf("%.40q: error %v is not a SyntaxError", c.src, err)
			}
			continue
		}
		if !errors.As(err, &se) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: got %v, want a SyntaxError with %q", c.src, err, c.want)
		}
	}
	if _, err := Compile("1", Kind(9)); err == nil {
		t.Error("an unknown kind compiles")
	}
}

func TestSyntaxErrorListsAllFaults(t *testing.T) {
	err := CheckWhen(`alpha > 1 && beta < 2`)
	if err == nil || !strings.Contains(err.Error(), "alpha") || !strings.Contains(err.Error(), "beta") {
		t.Fatal(err)
	}
}

func TestWhen(t *testing.T) {
	outputs := map[string]json.RawMessage{"close": json.RawMessage(`31000`), "side": json.RawMessage(`"buy"`)}
	for _, c := range []struct {
		src  string
		want any
	}{
		{`value > 30000`, true},
		{`value > 30000.5`, true},
		{`value == 31000.0`, true},
		{`value < 3`, false},
		{`outputs.side == "buy" && value > 1`, true},
		{`outputs.gone == 1`, "no such key"},
		{`value.x == 1`, "no such"},
		{`value`, "must yield a bool, yields 31000"},
		{`value / 0 > 1`, "division by zero"},
	} {
		p, err := Compile(c.src, When)
		if err != nil {
			t.Fatalf("%s: %v", c.src, err)
		}
		vars, err := p.WhenVars(outputs["close"], outputs)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Bool(t.Context(), vars)
		if text, bad := c.want.(string); bad {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: got %v, %v; want an error with %q", c.src, got, err, text)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%s: got %v, %v; want %v", c.src, got, err, c.want)
		}
	}
}

func TestWhenVarsDecodesOnlyWhatIsUsed(t *testing.T) {
	broken := map[string]json.RawMessage{"a": json.RawMessage(`{`)}
	p, err := Compile(`value == 1`, When)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.WhenVars([]byte(`1`), broken); err != nil {
		t.Fatalf("an unused variable was decoded: %v", err)
	}
	p, err = Compile(`outputs.exists(k, k == "a")`, When)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.WhenVars([]byte(`{`), broken); err == nil || !strings.Contains(err.Error(), "outputs") {
		t.Fatalf("want an error about outputs, got %v", err)
	}
}

// Each of these would take minutes or gigabytes if nothing stopped it.
func TestHostileExpressionsStop(t *testing.T) {
	hundred := "[" + strings.TrimSuffix(strings.Repeat("0,", 100), ",") + "]"
	for _, src := range []string{
		`lists.range(1000).map(a, lists.range(1000).map(b, lists.range(1000).map(c, a*b*c)))`,
		hundred + `.all(a, ` + hundred + `.all(b, ` + hundred + `.all(c, ` + hundred + `.all(d, a+b+c+d == 0))))`,
		`lists.range(1000).map(i, sum(lists.range(1000)))`,
		`lists.range(1000).map(i, lists.range(1000))`,
		`"x".replace("", "` + strings.Repeat("y", 1000) + `").replace("", "` + strings.Repeat("y", 1000) + `").replace("","` + strings.Repeat("y", 1000) + `")`,
		`lists.range(1000000000)`,
		`"%.999999999f".format([1.0])`,
		`[[1]]` + strings.Repeat(`.map(x, [x, x])`, 40),
		`[[1]]` + strings.Repeat(`.map(x, [x, x])`, 40) + ` == [[1]]` + strings.Repeat(`.map(x, [x, x])`, 40),
		`lists.range(1000).map(i, "` + strings.Repeat("a", 1000) + `").join("` + strings.Repeat("b", 2000) + `")`,
	} {
		p, err := Compile(src, Node)
		if err != nil {
			continue // refused even earlier
		}
		t.Logf("%.60s", src)
		_, err = p.JSON(t.Context(), nodeVars(t, `{}`))
		if err == nil {
			t.Errorf("%.60s: was not stopped", src)
		}
	}
}

func TestLimitsAreNamed(t *testing.T) {
	inputs := `{"xs":[` + strings.TrimSuffix(strings.Repeat("1,", 1000), ",") + `],"s":"` + strings.Repeat("<", 900_000) + `"}`
	for src, want := range map[string]string{
		`inputs.xs.map(x, sum(inputs.xs))`: "cost limit",
		`inputs.s`:                         "longer than", // escaped, it is six times as long
	} {
		p, err := Compile(src, Node)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.JSON(t.Context(), nodeVars(t, inputs)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", src, err, want)
		}
	}
}

func TestContextEndsEvaluation(t *testing.T) {
	p, err := Compile(`lists.range(1000).map(i, i + 1)`, Node)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.JSON(ctx, nodeVars(t, `{}`))
	var ee *EvalError
	if !errors.Is(err, context.Canceled) || errors.As(err, &ee) {
		t.Fatalf("got %v, want the context's error and no EvalError", err)
	}
}

func TestDecode(t *testing.T) {
	got, err := Decode([]byte(` {"a":[1,1.0,1e3,-0,12345678901234567890],"b":null,"c":{"d":"x"}} `))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"a": []any{int64(1), 1.0, 1000.0, int64(0), 12345678901234567890.0}, "b": nil, "c": map[string]any{"d": "x"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	for _, bad := range []string{``, `{`, `1 2`, `1e999`, `nope`, `[1,]`} {
		if v, err := Decode([]byte(bad)); err == nil {
			t.Errorf("%q decodes to %v", bad, v)
		}
	}
}

// What goes in comes out: the encoder agrees with encoding/json on every value.
func TestJSONRoundTrip(t *testing.T) {
	p, err := Compile(`inputs.v`, Node)
	if err != nil {
		t.Fatal(err)
	}
	leaf := rapid.OneOf(
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.Int64().AsAny(), rapid.String().AsAny(),
		rapid.Float64().Filter(func(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }).AsAny())
	tree := rapid.OneOf(leaf, rapid.SliceOf(leaf).AsAny(), rapid.MapOf(rapid.String(), leaf).AsAny(),
		rapid.MapOf(rapid.StringN(0, 4, -1), rapid.SliceOf(leaf)).AsAny())
	rapid.Check(t, func(t *rapid.T) {
		want, err := json.Marshal(tree.Draw(t, "value"))
		if err != nil {
			t.Skip()
		}
		v, err := Decode(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.JSON(context.Background(), NodeVars(map[string]any{"v": v}, nil, 1, time.Time{}, "", "", ""))
		if err != nil {
			t.Fatal(err)
		}
		var a, b any
		if json.Unmarshal(want, &a) != nil || json.Unmarshal(got, &b) != nil {
			t.Fatalf("%s is not JSON", got)
		}
		if diff := cmp.Diff(a, b); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Mixed arithmetic means the same however JSON spelled its numbers.
func TestSpellingOfNumbersDoesNotMatter(t *testing.T) {
	var programs []*Program
	for _, src := range []string{`inputs.a + inputs.b`, `inputs.a - inputs.b`, `inputs.a * inputs.b`, `inputs.a / inputs.b`,
		`inputs.a < inputs.b`, `inputs.a == inputs.b`, `sum([inputs.a, inputs.b])`, `max([inputs.a, inputs.b])`, `mean([inputs.a, inputs.b])`} {
		p, err := Compile(src, Node)
		if err != nil {
			t.Fatal(err)
		}
		programs = append(programs, p)
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Int64Range(-1e6, 1e6).Draw(t, "a"), rapid.Int64Range(1, 1e6).Draw(t, "b")
		for _, p := range programs {
			var first string
			for i, in := range []map[string]any{{"a": a, "b": b}, {"a": float64(a), "b": b}, {"a": a, "b": float64(b)}, {"a": float64(a), "b": float64(b)}} {
				got, err := p.JSON(context.Background(), NodeVars(in, nil, 1, time.Time{}, "", "", ""))
				if err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					first = string(got)
				} else if string(got) != first {
					t.Fatalf("%s over %v: %s, over integers %s", p.Source(), in, got, first)
				}
			}
		}
	})
}

func TestCacheIsBoundedAndShared(t *testing.T) {
	c := NewCache(2)
	compile := func(src string, k Kind) *Program {
		p, err := c.Compile(src, k)
		if err != nil {
			t.Error(err)
		}
		return p
	}
	a := compile("1", Node)
	compile("2", Node)
	if compile("1", Node) != a {
		t.Error("a kept program was compiled again")
	}
	compile("3", Node) // pushes 2 out
	if compile("1", Node) != a || c.Len() != 2 {
		t.Errorf("the program used last was dropped, or %d are kept", c.Len())
	}
	if _, err := c.Compile("1 +", Node); err == nil || c.Len() != 2 {
		t.Error("a failure was kept")
	}
	if compile("true", When) == compile("true", Node) {
		t.Error("kinds share a program")
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				compile(strings.Repeat("1+", (i+j)%5)+"1", Node)
			}
		})
	}
	wg.Wait()
	if c.Len() > 2 {
		t.Errorf("%d programs are kept", c.Len())
	}
}

func FuzzExpression(f *testing.F) {
	for _, s := range []string{`value > 30000`, `outputs.a + 1 == value`, `value.exists(x, x.y > 1)`, `sma(value, 3) > mean(value)`,
		`last(value, 2) == [1, 2]`, `column(value, "Close")[0] > 1`, `"%d".format([value])`, `{"a": value}`, `value / 0`} {
		f.Add(s, `[1,2.5,{"Close":"3"}]`)
	}
	f.Fuzz(func(t *testing.T, src, value string) {
		p, err := Compile(src, When)
		if err != nil {
			return
		}
		vars, err := p.WhenVars([]byte(value), map[string]json.RawMessage{"a": json.RawMessage(`1`)})
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		a, errA := p.Bool(ctx, vars)
		b, errB := p.Bool(ctx, vars)
		if a != b || (errA == nil) != (errB == nil) {
			t.Fatalf("two evaluations differ: %v %v, %v %v", a, errA, b, errB)
		}
		if raw, err := p.JSON(ctx, vars); err == nil && !json.Valid(raw) {
			t.Fatalf("result %q is not JSON", raw)
		}
	})
}

func BenchmarkWhen(b *testing.B) {
	p, err := Compile(`value > 30000`, When)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		vars, err := p.WhenVars([]byte(`31000.5`), nil)
		if err != nil {
			b.Fatal(err)
		}
		if ok, err := p.Bool(b.Context(), vars); err != nil || !ok {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkSMA(b *testing.B) {
	p, err := Compile(`sma(inputs.xs, 8) > sma(inputs.xs, 8, 1)`, Node)
	if err != nil {
		b.Fatal(err)
	}
	vars := nodeVars(b, `{"xs":[1,2,3,4,5,6,7,8,9.5]}`)
	for b.Loop() {
		if _, err := p.JSON(b.Context(), vars); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		if _, err := Compile(`value > 30000 && outputs.side == "buy"`, When); err != nil {
			b.Fatal(err)
		}
	}
}
