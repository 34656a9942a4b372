// Package expr is the expression language of Weather Station: CEL with the
// functions a strategy needs for lists of numbers. The coordinator checks
// expressions with it when a flow is registered, and whoever runs a cycle
// evaluates them, so both binaries agree on what an expression means.
//
// # Two kinds
//
// A [When] expression stands on an edge. It sees value (what the edge would
// carry) and outputs (every handle the source node emitted) and must yield a
// bool. A [Node] expression stands in a node's parameters. It sees inputs (the
// values by handle), params (the node's own constants), cycle, slot, intent_id,
// flow and node, and yields anything JSON can hold.
//
// # Numbers
//
// JSON does not tell 7 from 7.0, and a price series holds both, so neither may
// change what an expression means. Integers and doubles mix in comparisons and
// in + - * /, and / of two numbers is always the true quotient: 7 / 2 is 3.5
// here, where plain CEL says 3. int(a / b) gives the truncated one. Integers
// stay exact integers through + - * and an overflow is an error.
//
// # How it fails
//
// Nothing fails towards false. A missing key, a division by zero, an operand
// of the wrong type and a result that JSON cannot hold (NaN, infinities) are
// errors that name the expression and the cause. The operators && and || are
// CEL's: an error on one side is forgotten when the other side decides alone.
//
// A hostile expression costs little. The source is at most 4 KiB, evaluation
// stops at a cost limit, at a memory limit and when the context ends, and
// regular expressions are RE2. An expression can reach nothing but its
// variables, and two evaluations over equal variables give equal bytes.
package expr
