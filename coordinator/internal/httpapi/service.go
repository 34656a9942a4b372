package httpapi

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/shared/ids"
)

// Flows is what the API needs to keep flows. Errors that a client can act on
// are *Invalid, *NotFound, *Conflict and *Unavailable, possibly wrapped; any
// other error is answered with status 500 and stays in the log.
type Flows interface {
	// Register stores a document as a flow's new revision, or only checks it.
	// Bad documents give *Invalid with every fault.
	Register(ctx context.Context, body []byte, opts RegisterOptions) (api.Registered, error)
	// ListFlows returns every flow, ordered by id.
	ListFlows(ctx context.Context) ([]api.FlowSummary, error)
	GetFlow(ctx context.Context, flow ids.FlowID) (api.FlowStatus, error)
	DeleteFlow(ctx context.Context, flow ids.FlowID) error
	// PauseFlow and ResumeFlow return the flow as it stands afterwards; doing
	// either twice is no error.
	PauseFlow(ctx context.Context, flow ids.FlowID) (api.FlowStatus, error)
	ResumeFlow(ctx context.Context, flow ids.FlowID) (api.FlowStatus, error)
}

// Cycles is what the API needs to start, read and cancel cycles. Errors are
// those of Flows.
type Cycles interface {
	// StartCycle starts a cycle now. The same key for the same flow gives the
	// same cycle again; an empty key always starts one.
	StartCycle(ctx context.Context, flow ids.FlowID, key string) (api.CycleSummary, error)
	// RunCycle is StartCycle that answers when the cycle has ended, or with the
	// cycle as it stands when it has not within wait.
	RunCycle(ctx context.Context, flow ids.FlowID, key string, wait time.Duration) (api.CycleSummary, error)
	// ListCycles returns at most limit (1 to 1000) cycles, newest first; only
	// those numbered below before when it is not zero.
	ListCycles(ctx context.Context, flow ids.FlowID, limit int, before int64) ([]api.CycleSummary, error)
	GetCycle(ctx context.Context, flow ids.FlowID, cycle int64) (api.Cycle, error)
	// CancelCycle returns the cycle as it stands afterwards. A cycle that has
	// ended gives *Conflict.
	CancelCycle(ctx context.Context, flow ids.FlowID, cycle int64) (api.CycleSummary, error)
	// GetNode returns one node with its inputs and outputs.
	GetNode(ctx context.Context, flow ids.FlowID, cycle int64, node ids.NodeID) (api.Node, error)
	Metrics(ctx context.Context, flow ids.FlowID) (api.Metrics, error)
}

// Cluster is what the API needs to show the deployment.
type Cluster interface {
	Cluster(ctx context.Context) (api.Cluster, error)
	// Workers returns the live workers, ordered by pool and id.
	Workers(ctx context.Context) ([]api.Worker, error)
	// Verify checks a part of the journal. That it breaks rules is no error.
	Verify(ctx context.Context, r VerifyRange) (api.Proof, error)
	// Journal returns records of the journal, oldest first.
	Journal(ctx context.Context, r JournalRange) (api.Journal, error)
	// TransferLeader ends the present leadership of a partition and returns it, once
	// it has ended. Without a standby, without a leader, or if here is set and this
	// coordinator does not lead, it gives *Conflict and changes nothing; *NotFound
	// when there is no such partition.
	TransferLeader(ctx context.Context, partition int, here bool) (api.Transfer, error)
}

// Onces is what the API needs to answer workers that are about to start an
// at-most-once node.
type Onces interface {
	// TakeOnceKey reports whether the key is the token's; false: it is another's.
	// After *Unavailable it is not known whether the key was made.
	TakeOnceKey(ctx context.Context, q OnceRequest) (granted bool, err error)
}

// OnceRequest names an at-most-once node of one occasion, and who wants to start
// it.
type OnceRequest struct {
	Flow     ids.FlowID
	Occasion uuid.UUID
	Node     ids.NodeID
	Token    uuid.UUID
}

// VerifyRange bounds Verify. Zero values leave a side open.
type VerifyRange struct {
	Flow     ids.FlowID // "" = every flow
	From, To time.Time
}

// JournalRange bounds Journal.
type JournalRange struct {
	Flow  ids.FlowID // "" = every flow
	After string     // id of a record, or of one in each partition with commas between; "" = from the oldest
	Limit int
}

// Service is everything behind the API.
type Service interface {
	Flows
	Cycles
	Cluster
	Onces
}

// Health tells whether this process may be used.
type Health interface {
	// Live returns an error when the process no longer makes progress and has
	// to be restarted. It reaches no server.
	Live() error
	// Ready returns one entry for each server the process depends on; it is
	// ready when all are OK.
	Ready(ctx context.Context) []api.Dependency
}

// RegisterOptions say how a document is to be read.
type RegisterOptions struct {
	FlowID            string // for spellings that carry no id; "" = the document's
	Interval          string // for spellings that carry no interval; "" = the document's
	AllowUnknownTypes bool   // accept node types that no worker carries
	ValidateOnly      bool   // store nothing
	ContentType       string // media type without parameters; "" = find out from the text
}
