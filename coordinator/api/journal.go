package api

// Journal is a page of the journal, oldest first.
type Journal struct {
	Records []JournalRecord `json:"records" nullable:"false"`
	Next    string          `json:"next" doc:"Ask again with after set to it; empty at the journal's end"`
}

// JournalRecord is one transition, as the script that made it wrote it in the same
// step.
type JournalRecord struct {
	ID      string `json:"id" doc:"Its first part is the ledger's time in milliseconds"`
	At      Time   `json:"at"`
	Op      string `json:"op" doc:"takeover, cycle_start, ready, dispatch, claim, outcome, …"`
	FlowID  string `json:"flow_id,omitempty"`
	Cycle   int64  `json:"cycle,omitzero"`
	NodeID  string `json:"node_id,omitempty"`
	Attempt int    `json:"attempt,omitzero"`
	Epoch   int64  `json:"epoch,omitzero" doc:"Leadership that wrote it; 0 for what workers and clients write"`
	Worker  string `json:"worker,omitempty"`
	Detail  string `json:"detail,omitempty"`

	Partition *int `json:"partition,omitempty" doc:"Whose journal; absent where there is one partition only. An id is one record's in its partition alone"`
}
