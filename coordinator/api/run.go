package api

// LinesType is the media type of a stream of runs: a JSON value a line.
const LinesType = "application/x-ndjson"

// Run asks for one cycle, in a line of a stream of runs.
type Run struct {
	ID          int64   `json:"id" doc:"The answer bears it; of the client's choice, as 1, 2, …"`
	FlowID      string  `json:"flow_id"`
	Key         string  `json:"key,omitempty" doc:"The same key gives the same cycle again: what is not answered when a stream breaks is asked again with its key"`
	WaitSeconds float64 `json:"wait_seconds,omitempty" doc:"Answer when the cycle has ended, or after so long, at most 60, with the cycle as it stands; as soon as it has started when 0"`
}

// RunAnswer answers a Run: with its cycle or with a problem. One that has Ends answers none.
type RunAnswer struct {
	ID      int64         `json:"id" doc:"Of the run; 0 for a line that could not be read"`
	Cycle   *CycleSummary `json:"cycle,omitempty"`
	Problem *Problem      `json:"problem,omitempty"`

	RetryAfterSeconds float64 `json:"retry_after_seconds,omitempty" doc:"Of a problem that may pass"`
	Ends              bool    `json:"ends,omitempty" doc:"No more lines are read: runs go elsewhere, those without an answer when the stream has ended"`
}
