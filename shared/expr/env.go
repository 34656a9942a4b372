package expr

import (
	"fmt"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/ext"
)

// Kind says where an expression stands and so which variables it sees.
type Kind int

// The kinds of expressions.
const (
	When Kind = iota + 1 // on an edge: value, outputs
	Node                 // in a node: inputs, params, cycle, slot, intent_id, flow, node
)

func (k Kind) String() string {
	switch k {
	case When:
		return "when"
	case Node:
		return "node"
	}
	return fmt.Sprintf("kind %d", int(k))
}

// Limits of an expression.
const (
	MaxSource = 4 << 10 // bytes

	// The cost limit does not see how large a value made of shared parts becomes
	// when two of them are compared; the memory limit does.
	costLimit    = 200_000   // some tens of milliseconds of one core
	memoryLimit  = 1_000_000 // list items, map entries and the like, as CEL counts them
	maxResult    = 4 << 20   // bytes of JSON
	maxNesting   = 64
	maxRange     = 1_000
	maxPrecision = 64
	maxRegexp    = 2_000
)

func (k Kind) variables() []cel.EnvOption {
	if k == When {
		return []cel.EnvOption{
			cel.Variable("value", cel.DynType),
			cel.Variable("outputs", cel.MapType(cel.StringType, cel.DynType)),
		}
	}
	return []cel.EnvOption{
		cel.Variable("inputs", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("params", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("cycle", cel.IntType),
		cel.Variable("slot", cel.TimestampType),
		cel.Variable("intent_id", cel.StringType),
		cel.Variable("flow", cel.StringType),
		cel.Variable("node", cel.StringType),
	}
}

// The environments never change once built, and building one takes
// milliseconds, so each is built on first use.
var (
	whenEnv = sync.OnceValues(func() (*cel.Env, error) { return newEnv(When) })
	nodeEnv = sync.OnceValues(func() (*cel.Env, error) { return newEnv(Node) })
)

func environment(k Kind) (*cel.Env, error) {
	switch k {
	case When:
		return whenEnv()
	case Node:
		return nodeEnv()
	}
	return nil, fmt.Errorf("expression: %s is no kind of expression", k)
}

func newEnv(k Kind) (*cel.Env, error) {
	replaced := make([]*env.Function, 0, 4)
	for _, op := range []string{operators.Add, operators.Subtract, operators.Multiply, operators.Divide} {
		replaced = append(replaced, env.NewFunction(op))
	}
	opts := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(env.NewLibrarySubset().AddExcludedFunctions(replaced...))),
		cel.EagerlyValidateDeclarations(true),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.OptionalTypes(),
		cel.ParserRecursionLimit(maxNesting),
		cel.ParserExpressionSizeLimit(MaxSource),
		cel.RegexProgramSizeLimit(maxRegexp),
		ext.Strings(ext.StringsMaxPrecision(maxPrecision)),
		ext.Math(),
		ext.Lists(ext.ListsMaxRangeSize(maxRange)),
	}
	opts = append(opts, arithmetic()...)
	opts = append(opts, listFunctions()...)
	opts = append(opts, k.variables()...)
	e, err := cel.NewCustomEnv(opts...)
	if err != nil {
		return nil, fmt.Errorf("expression environment of %s: %w", k, err)
	}
	return e, nil
}
