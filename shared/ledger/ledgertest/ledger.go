package ledgertest

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// Ledger is what the suite checks: the typed verbs of package ledger, whoever
// carries them out.
type Ledger interface {
	flowVerbs
	flowReads
	cycleVerbs
	cycleReads
	nodeReads
	claimVerbs
	settleVerbs
	outboxVerbs
	spreadVerbs
	holdVerbs
	timerVerbs
	mendVerbs
	mendListVerbs
	recoveryVerbs
	auditReads
	removalVerbs
	workerVerbs
	onceVerbs
	coordinatorVerbs
	clockVerbs
	Takeover(ctx context.Context, epoch ids.Epoch) (time.Time, error)
	Prefix() string
	Refused() map[string]int64
	Dump(ctx context.Context) (map[string]string, error)
	Journal(ctx context.Context, after string, count int64) ([]ledger.Record, error)
}

type flowVerbs interface {
	WritePlan(ctx context.Context, p *plan.Plan) error
	ActivateFlow(ctx context.Context, a ledger.Activation) error
	PauseFlow(ctx context.Context, f ids.FlowID) (bool, error)
	ResumeFlow(ctx context.Context, f ids.FlowID) (bool, error)
	DeleteFlow(ctx context.Context, f ids.FlowID) (bool, error)
}

type flowReads interface {
	ReadPlan(ctx context.Context, f ids.FlowID, revision int64) (*plan.Plan, error)
	Flow(ctx context.Context, f ids.FlowID) (ledger.FlowState, error)
	Flows(ctx context.Context, flows []ids.FlowID) (map[ids.FlowID]ledger.FlowState, error)
	FlowIDs(ctx context.Context) ([]ids.FlowID, error)
}

type cycleVerbs interface {
	StartCycle(ctx context.Context, epoch ids.Epoch, s ledger.Start) (ledger.Started, error)
	SkipSlots(ctx context.Context, epoch ids.Epoch, f ids.FlowID, uid uuid.UUID, known, first, last time.Time, count int64, reason string) error
	CancelCycle(ctx context.Context, epoch ids.Epoch, f ids.FlowID, n int64, id uuid.UUID, cause string) (string, error)
}

type cycleReads interface {
	Cycle(ctx context.Context, f ids.FlowID, n int64) (ledger.CycleState, error)
	CyclesOf(ctx context.Context, of []ids.Attempt) ([]ledger.CycleState, error)
	Cycles(ctx context.Context, f ids.FlowID, limit int, before int64) ([]ledger.CycleState, error)
	CycleNumbers(ctx context.Context, f ids.FlowID) ([]int64, error)
	Active(ctx context.Context) ([]ledger.ActiveCycle, error)
}

type nodeReads interface {
	Nodes(ctx context.Context, f ids.FlowID, n int64, nodes []ids.NodeID) ([]ledger.NodeState, error)
	Outputs(ctx context.Context, f ids.FlowID, n int64, names []string) ([]json.RawMessage, error)
	Joins(ctx context.Context, f ids.FlowID, n int64) (map[string]string, error)
	JoinOf(ctx context.Context, f ids.FlowID, n int64, node ids.NodeID) (live, dead, failed int, err error)
}

type claimVerbs interface {
	Claim(ctx context.Context, q ledger.ClaimRequest) (ledger.Claim, ledger.Refusal, error)
	Heartbeat(ctx context.Context, w ids.WorkerID, lease time.Duration, claims []ledger.HeldClaim) ([]ledger.Beat, error)
	Decline(ctx context.Context, a ids.Attempt, w ids.WorkerID, delay time.Duration) error
}

type settleVerbs interface {
	Complete(ctx context.Context, c ledger.Completion) error
	CompleteNext(ctx context.Context, c ledger.Completion, q ledger.Next) ([]ledger.Claim, error)
	Fail(ctx context.Context, f ledger.Failure) (ledger.Failed, error)
	Release(ctx context.Context, a ids.Attempt, token uuid.UUID, started bool) error
}

type outboxVerbs interface {
	Outbox(ctx context.Context, after string, count int64) ([]ledger.Entry, error)
	WaitOutbox(ctx context.Context, after string, count int64, block time.Duration) ([]ledger.Entry, error)
	Dispatched(ctx context.Context, epoch ids.Epoch, done []ledger.Entry) error
	Drop(ctx context.Context, epoch ids.Epoch, entryIDs ...string) error
	CheckEpoch(ctx context.Context, epoch ids.Epoch, publishes int) error
}

type spreadVerbs interface {
	Decide(ctx context.Context, epoch ids.Epoch, e ledger.Entry, n *plan.Node, v ledger.Verdict) error
	SpreadFrom(ctx context.Context, e ledger.Entry) (int, bool, error)
	SpreadEdges(ctx context.Context, epoch ids.Epoch, e ledger.Entry, n *plan.Node, from int, decided ledger.Decided) (int, error)
	SpreadEntries(ctx context.Context, epoch ids.Epoch, e ledger.Entry, all []*plan.Node, from int) (int, error)
	Sweep(ctx context.Context, epoch ids.Epoch, e ledger.Entry, status, reason string, nodes []ids.NodeID) error
}

type holdVerbs interface {
	Hold(ctx context.Context, epoch ids.Epoch, e ledger.Entry, waitsFor, blocker string) error
	Holds(ctx context.Context) ([]string, error)
	ReleaseHeld(ctx context.Context, epoch ids.Epoch, waitsFor, entryID string) (int64, error)
	ReleaseFlow(ctx context.Context, epoch ids.Epoch, f ids.FlowID, entryID string) (int64, error)
	PruneHold(ctx context.Context, epoch ids.Epoch, waitsFor string) error
}

type timerVerbs interface {
	Leases(ctx context.Context) ([]ledger.Lease, error)
	Expire(ctx context.Context, epoch ids.Epoch, x ledger.Expiry) (bool, error)
	Timers(ctx context.Context, count int64) ([]ledger.Timer, error)
	Retry(ctx context.Context, epoch ids.Epoch, a ids.Attempt) error
	OfferAgain(ctx context.Context, epoch ids.Epoch, a ids.Attempt, why string) (bool, error)
}

type mendVerbs interface {
	MendNode(ctx context.Context, epoch ids.Epoch, a ids.Attempt, status, repair string, lease time.Duration) (bool, error)
	MendCounts(ctx context.Context, epoch ids.Epoch, c ledger.ActiveCycle, seen int64, counters map[string]int, joins []ledger.JoinFix) (bool, error)
	MendFlow(ctx context.Context, epoch ids.Epoch, f ids.FlowID, seen string) (bool, error)
	MendDeadlineOf(ctx context.Context, epoch ids.Epoch, c ledger.ActiveCycle, due time.Time) (bool, error)
}

type mendListVerbs interface {
	MendActive(ctx context.Context, epoch ids.Epoch, c ledger.ActiveCycle) (bool, error)
	MendClosed(ctx context.Context, epoch ids.Epoch, c ledger.ActiveCycle) (bool, error)
	MendPurge(ctx context.Context, epoch ids.Epoch, f ids.FlowID) (bool, error)
	Closing(ctx context.Context, before time.Time) ([]ledger.ActiveCycle, error)
	Told(ctx context.Context, epoch ids.Epoch, ended ...ledger.Entry) error
}

type recoveryVerbs interface {
	NoteRepair(ctx context.Context, epoch ids.Epoch, a ids.Attempt, kind, cause string) error
	NoteRecovery(ctx context.Context, happened, done, kind string, count int) error
	Repairs(ctx context.Context) (map[string]int64, error)
	Recoveries(ctx context.Context) ([]ledger.Recovery, error)
	Deleted(ctx context.Context, uids []uuid.UUID) (map[uuid.UUID]bool, error)
}

type auditReads interface {
	ReadPosted(ctx context.Context) (ledger.Posted, error)
	Protections(ctx context.Context, c ledger.ActiveCycle, revision int64, nodes []ledger.NodeState) (ledger.Protection, error)
	Progresses(ctx context.Context, cycles []ledger.ActiveCycle) ([]ledger.Progress, error)
	FlowHeads(ctx context.Context, flows []ids.FlowID) ([]ledger.FlowHead, error)
	LookAtFlows(ctx context.Context, revisions map[ids.FlowID]int64) (map[ids.FlowID]ledger.FlowLook, map[ids.FlowID]bool, error)
}

type removalVerbs interface {
	ArchiveCycles(ctx context.Context, epoch ids.Epoch, cycles []ledger.CycleState, nodes [][]ids.NodeID) error
	ReadArchive(ctx context.Context, f ids.FlowID, n int64) (ledger.Archive, error)
	DeleteArchived(ctx context.Context, epoch ids.Epoch, f ids.FlowID, numbers []int64) ([]int64, error)
	DeleteCycles(ctx context.Context, epoch ids.Epoch, f ids.FlowID, numbers []int64, nodes [][]ids.NodeID) error
	PurgeFlow(ctx context.Context, epoch ids.Epoch, f ids.FlowID, entry string) (int64, error)
}

type workerVerbs interface {
	BeatWorker(ctx context.Context, w ledger.Worker, ttl time.Duration) error
	LeaveWorker(ctx context.Context, id ids.WorkerID) error
	Workers(ctx context.Context) ([]ledger.Worker, error)
	Worker(ctx context.Context, id ids.WorkerID) (ledger.Worker, error)
}

type onceVerbs interface {
	EndUnknown(ctx context.Context, d ledger.Doubt) error
	Block(ctx context.Context, a ids.Attempt, token uuid.UUID, blocker string) error
	OnceEra(ctx context.Context, epoch ids.Epoch, era string) (time.Time, error)
	Occasions(ctx context.Context, f ids.FlowID) (map[uuid.UUID]bool, error)
}

type coordinatorVerbs interface {
	BeatCoordinator(ctx context.Context, c ledger.Coordinator, ttl time.Duration) error
	LeaveCoordinator(ctx context.Context, c ledger.Coordinator) error
	Coordinators(ctx context.Context) ([]ledger.Coordinator, error)
}

type clockVerbs interface {
	Now(ctx context.Context) (time.Time, error)
	ReadClock(ctx context.Context) (ledger.Clock, error)
	SetClock(ctx context.Context, epoch ids.Epoch, seen, add time.Duration) (bool, error)
	ConfirmClock(ctx context.Context, epoch ids.Epoch, seen time.Duration) (bool, error)
}
