package api

import "encoding/json"

// Statuses of a flow.
const (
	FlowActive = "active" // its slots make cycles
	FlowPaused = "paused" // its slots are skipped and no cycle starts
)

// Schedule types of a flow.
const (
	Periodic = "periodic"
	Cron     = "cron"
	Manual   = "manual"
)

// FlowSummary is a flow as it stands in the list of flows.
type FlowSummary struct {
	FlowID          string        `json:"flow_id" doc:"Id of the flow"`
	Name            string        `json:"name" doc:"Name for people"`
	Status          string        `json:"status" enum:"active,paused" doc:"Whether its slots make cycles"`
	ScheduleType    string        `json:"schedule_type" enum:"periodic,cron,manual"`
	IntervalSeconds float64       `json:"interval_seconds,omitzero" doc:"Period of a periodic flow"`
	Cron            string        `json:"cron,omitempty" doc:"Expression of a cron flow"`
	Timezone        string        `json:"timezone,omitempty" doc:"IANA zone of the cron expression"`
	Revision        int64         `json:"revision" doc:"Number of the stored definition"`
	NodeCount       int           `json:"node_count"`
	NextSlot        Time          `json:"next_slot,omitzero" doc:"When the next cycle is due; absent for a paused or manual flow"`
	LatestCycle     int64         `json:"latest_cycle" doc:"Number of the newest cycle; 0 = none yet"`
	CycleStatus     *CycleSummary `json:"cycle_status,omitempty" doc:"The newest cycle"`
}

// FlowStatus is all that is known of one flow.
type FlowStatus struct {
	FlowSummary
	ActiveCycles int             `json:"active_cycles" doc:"Cycles running or cancelling now"`
	Slots        Slots           `json:"slots" doc:"What became of the slots that came due"`
	Components   [][]string      `json:"components" nullable:"false" doc:"Node ids of each weakly connected part"`
	EntryNodes   []string        `json:"entry_nodes" nullable:"false" doc:"Nodes without incoming edges"`
	Sinks        []string        `json:"sinks" nullable:"false" doc:"Nodes without outgoing edges"`
	Levels       [][]string      `json:"levels" nullable:"false" doc:"Node ids by level; the first list holds the entry nodes"`
	Definition   json.RawMessage `json:"definition,omitempty" doc:"The document in its canonical form"`
}

// Slots counts a flow's slots: Due = Started + all Skipped + Pending.
type Slots struct {
	Due     int64            `json:"due"`
	Started int64            `json:"started"`
	Skipped map[string]int64 `json:"skipped,omitempty" doc:"Skipped slots by reason"`
	Pending int64            `json:"pending"`
}

// FlowList is the answer of GET /flows, ordered by id.
type FlowList struct {
	Flows []FlowSummary `json:"flows" nullable:"false"`
}

// Registered is the answer of POST /flows. After validate_only it tells what
// registering would do: Revision is then the one the flow has now, 0 = none.
type Registered struct {
	FlowID       string     `json:"flow_id"`
	Revision     int64      `json:"revision"`
	Created      bool       `json:"created" doc:"The flow did not exist before"`
	Changed      bool       `json:"changed" doc:"The document differs from the stored one, so there is a new revision"`
	Validated    bool       `json:"validated_only,omitempty" doc:"Nothing was stored: validate_only was asked for"`
	Status       string     `json:"status" enum:"active,paused"`
	ScheduleType string     `json:"schedule_type" enum:"periodic,cron,manual"`
	Components   [][]string `json:"components" nullable:"false" doc:"Node ids of each weakly connected part"`
	EntryNodes   []string   `json:"entry_nodes" nullable:"false"`
	NextSlot     Time       `json:"next_slot,omitzero"`
	Warnings     []Fault    `json:"warnings,omitempty" doc:"What is legal but probably not meant"`
}

// Metrics are the execution metrics of a flow over its last ended cycles.
type Metrics struct {
	FlowID          string  `json:"flow_id"`
	Window          int     `json:"window" doc:"How many ended cycles are looked at, at most"`
	TotalExecutions int     `json:"total_executions"`
	Successful      int     `json:"successful"`
	Failed          int     `json:"failed"`
	SuccessRate     float64 `json:"success_rate" doc:"successful / total_executions, 0 without any"`
	AvgSeconds      float64 `json:"avg_execution_time_seconds"`
	P50Seconds      float64 `json:"p50_execution_time_seconds"`
	MaxSeconds      float64 `json:"max_execution_time_seconds"`
}
