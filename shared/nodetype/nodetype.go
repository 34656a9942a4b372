// Package nodetype lists the node types that every worker of this product
// carries, so that a coordinator can tell a known type from an unknown one
// without linking the worker.
package nodetype

// The built-in node types. Exec is built in too, but a worker carries it only
// when it was started with permission to run programs, so it counts as known
// only while such a worker advertises it.
const (
	DatasetInput  = "dataset_input"
	DatasetOutput = "dataset_output"
	Transform     = "transform"
	Condition     = "condition"
	HTTP          = "http"
	Exec          = "exec"
	Delay         = "delay"
	Log           = "log"
	Fail          = "fail"
)

// Always lists the types that every worker carries, sorted.
func Always() []string {
	return []string{Condition, DatasetInput, DatasetOutput, Delay, Fail, HTTP, Log, Transform}
}
