package chaos

// Steps of a coordinator and of a worker at which package failpoint lets it
// crash, as a run under load comes by them.
var (
	coordinatorSteps = []string{"takeover", "activate_flow", "start_cycle", "skip_slots", "dispatched", "decide", "drop_entries", "sweep", "spread",
		"expire", "retry", "archive_cycles", "delete_cycles", "publish", "confirm", "catalog_put", "election_join", "election_claim", "election_hand_over", "election_leave",
		"offer_again", "mend_node", "mend_counts", "rewrite_aof", "once_key"}
	workerSteps = []string{"beat_worker", "claim", "heartbeat", "complete", "fail", "release", "handler", "ack", "once_ask"}
)

var coordinatorPoints, workerPoints = around(coordinatorSteps), around(workerSteps)

// around gives the moments before and after each step.
func around(steps []string) (out []string) {
	for _, s := range steps {
		out = append(out, "before-"+s, "after-"+s)
	}
	return out
}
