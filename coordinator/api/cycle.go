package api

import "encoding/json"

// Statuses of a cycle. The last four are final.
const (
	CycleRunning    = "running"
	CycleCancelling = "cancelling" // ends once no node runs any more
	CycleCompleted  = "completed"
	CycleFailed     = "failed"
	CycleCancelled  = "cancelled"
	CycleTimeout    = "timeout"
)

// CycleEnded reports whether a cycle in this status has ended.
func CycleEnded(status string) bool {
	switch status {
	case CycleCompleted, CycleFailed, CycleCancelled, CycleTimeout:
		return true
	default:
		return false
	}
}

// What made a cycle.
const (
	TriggerSlot   = "slot"
	TriggerManual = "manual"
)

// CycleSummary is a cycle without its nodes. CompletedNodes counts the nodes
// that reached a final status; it is the sum of the counts by status.
type CycleSummary struct {
	Cycle           int64   `json:"cycle" doc:"Number of the cycle in its flow: 1, 2, …"`
	UUID            string  `json:"uuid"`
	FlowID          string  `json:"flow_id"`
	Status          string  `json:"status" enum:"running,cancelling,completed,failed,cancelled,timeout"`
	Trigger         string  `json:"trigger" enum:"slot,manual"`
	Slot            Time    `json:"slot,omitzero" doc:"The instant it was due; absent for a manual cycle"`
	Revision        int64   `json:"revision" doc:"The definition it runs"`
	StartedAt       Time    `json:"started_at,omitzero"`
	CompletedAt     Time    `json:"completed_at,omitzero"`
	DurationSeconds float64 `json:"duration_seconds" doc:"From start to end, or to now while it runs"`
	TotalNodes      int     `json:"total_nodes"`
	CompletedNodes  int     `json:"completed_nodes" doc:"Nodes in a final status"`
	Succeeded       int     `json:"succeeded_nodes"`
	Failed          int     `json:"failed_nodes"`
	Skipped         int     `json:"skipped_nodes"`
	Stopped         int     `json:"stopped_nodes"`
	Cancelled       int     `json:"cancelled_nodes"`
	Unknown         int     `json:"unknown_nodes"`
	Error           string  `json:"error,omitempty" doc:"The first failure"`
	Archived        bool    `json:"archived,omitempty" doc:"Only this summary and the states of its nodes are kept"`
}

// Cycle is a cycle with its nodes, in the order of the flow's document.
type Cycle struct {
	CycleSummary
	Nodes []Node `json:"nodes" nullable:"false"`
}

// CycleList is the answer of GET /flows/{flow}/cycles, newest first.
type CycleList struct {
	Cycles     []CycleSummary `json:"cycles" nullable:"false"`
	NextBefore int64          `json:"next_before,omitzero" doc:"Value of before for the next page; absent on the last one"`
}

// Node is a node of a cycle. Status is one of waiting, ready, dispatched,
// running, retrying, succeeded, failed, skipped, stopped, cancelled, unknown.
type Node struct {
	NodeID      string   `json:"node_id"`
	Type        string   `json:"type"`
	Pool        string   `json:"pool"`
	Component   int      `json:"component" doc:"Index of its component: 0, 1, …"`
	Level       int      `json:"level" doc:"1 for an entry node"`
	Status      string   `json:"status" enum:"waiting,ready,dispatched,running,retrying,succeeded,failed,skipped,stopped,cancelled,unknown"`
	StartedAt   Time     `json:"started_at,omitzero"`
	CompletedAt Time     `json:"completed_at,omitzero"`
	Error       string   `json:"error,omitempty" doc:"Message of the last failure, or the reason of a stop"`
	ErrorClass  string   `json:"error_class,omitempty" enum:"retryable,permanent,timeout,panic,cancelled,lost"`
	Attempt     int      `json:"attempt" doc:"Number of the newest attempt; 0 = none yet"`
	RetryCount  int      `json:"retry_count" doc:"Retries after a failure"`
	Lost        int      `json:"lost" doc:"Attempts whose worker was lost"`
	Worker      string   `json:"worker,omitempty"`
	IntentID    string   `json:"intent_id,omitempty" doc:"Idempotency key of the node's effect; equal over all its attempts"`
	Blocker     *Blocker `json:"blocker,omitempty" doc:"Why a node that has not ended waits"`
	// Only in the answer for a single node.
	Inputs  map[string]json.RawMessage `json:"inputs,omitempty" doc:"By handle; only in the answer for a single node"`
	Outputs map[string]json.RawMessage `json:"outputs,omitempty" doc:"By handle; only in the answer for a single node"`
}

// Blocker names what a node waits for.
type Blocker struct {
	Code   string `json:"code" doc:"For programs, as no_worker, inputs, retry_timer, queued, lease"`
	Detail string `json:"detail" doc:"For people"`
}
