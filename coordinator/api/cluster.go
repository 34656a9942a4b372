package api

// Cluster is the state of the whole deployment as one coordinator sees it.
type Cluster struct {
	Leader  *Leader      `json:"leader,omitempty" doc:"Absent while nobody leads; with several partitions that of partition 0"`
	Members []Member     `json:"members" nullable:"false" doc:"Coordinators"`
	Schema  string       `json:"schema" doc:"Number of the ledger schema"`
	Pools   []Pool       `json:"pools" nullable:"false"`
	Health  []Dependency `json:"health" nullable:"false" doc:"Servers this coordinator depends on"`
	// Partitions is absent where there is one.
	Partitions []Partition `json:"partitions,omitempty" doc:"Who leads each partition; absent where there is one only"`
	// What was lost and put back.
	Repairs    map[string]int64 `json:"repairs" nullable:"false" doc:"What stores had lost and the leader put back, by kind, since the ledger began"`
	Recoveries []Recovery       `json:"recoveries" nullable:"false" doc:"The latest times that the cluster went on by itself after a server had lost data, the newest first"`
}

// Recovery tells what a server had lost and what was done.
type Recovery struct {
	At        Time   `json:"at"`
	What      string `json:"what"`
	Partition *int   `json:"partition,omitempty" doc:"Where; absent where there is one partition only"`
}

// Partition is one of several parts of a deployment, each with a leader of its own.
type Partition struct {
	Partition int     `json:"partition"`
	Leader    *Leader `json:"leader,omitempty" doc:"Absent while nobody leads it"`
}

// Leader is the coordinator that leads.
type Leader struct {
	ID      string `json:"id"`
	Epoch   int64  `json:"epoch" doc:"Fencing number of this leadership"`
	Since   Time   `json:"since,omitzero"`
	Address string `json:"address,omitempty" doc:"Where its API answers"`
}

// Member is a coordinator, leading or standing by.
type Member struct {
	ID      string `json:"id"`
	Address string `json:"address,omitempty"`
	Version string `json:"version,omitempty"`
	Leader  bool   `json:"leader" doc:"Leads, where there are several partitions at least one"`
	Self    bool   `json:"self" doc:"The one that gave this answer"`
	Since   Time   `json:"since,omitzero" doc:"When it started"`

	Partitions []int `json:"partitions,omitempty" doc:"Those it leads; absent where there is one only"`
}

// Pool is a named group of workers and its queue.
type Pool struct {
	Pool      string `json:"pool"`
	Ready     int    `json:"ready" doc:"Tasks in the queue"`
	Consumers int    `json:"consumers"`
	Workers   int    `json:"workers"`
	Capacity  int    `json:"capacity" doc:"Nodes its workers can run at once"`
	Busy      int    `json:"busy" doc:"Nodes its workers run now"`
	Fault     string `json:"queue_fault,omitempty" doc:"Why the broker tells nothing of its queue, though workers consume it"`
}

// Dependency is a server the product depends on: redis, rabbitmq or etcd.
type Dependency struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty" doc:"Why not, or what is worth knowing"`
}

// Worker is one worker process.
type Worker struct {
	WorkerID      string   `json:"worker_id"`
	Pool          string   `json:"pool"`
	NodeTypes     []string `json:"node_types" nullable:"false"`
	Concurrency   int      `json:"concurrency" doc:"Nodes it can run at once"`
	Busy          int      `json:"busy" doc:"Nodes it runs now"`
	Version       string   `json:"version,omitempty"`
	StartedAt     Time     `json:"started_at,omitzero"`
	LastBeat      Time     `json:"last_beat,omitzero"`
	HealthAddress string   `json:"health_address,omitempty"`
	Draining      bool     `json:"draining" doc:"Takes no new tasks and ends when idle"`
}

// WorkerList is the answer of GET /workers, ordered by pool and id.
type WorkerList struct {
	Workers []Worker `json:"workers" nullable:"false"`
}
