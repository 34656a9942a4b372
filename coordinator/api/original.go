package api

// Executed is the answer of POST /flows/execute, a call kept for clients of
// the earlier product.
type Executed struct {
	Status   string `json:"status" doc:"running"`
	FlowID   string `json:"flow_id"`
	Message  string `json:"message"`
	Revision int64  `json:"revision"`
	Cycle    int64  `json:"cycle,omitzero" doc:"The cycle started at once, for a flow without a schedule"`
}

// OriginalStatus is the answer of GET /flows/{flow}/status, a call kept for
// clients of the earlier product.
type OriginalStatus struct {
	FlowStatus
	LastCycle          int64  `json:"last_cycle" doc:"Same as latest_cycle"`
	CurrentCycleStatus string `json:"current_cycle_status,omitempty" doc:"Status of the newest cycle"`
}
