// Package oncekey is what a worker and a coordinator say to each other about an
// at-most-once node that is about to be started: the call that asks for its
// once-key, and the answer.
package oncekey

// Path is where every coordinator answers a POST of a Request, from its API's
// address on.
const Path = "/api/v1/once"

// Answers.
const (
	// Granted: the key is the token's. It was just made, or had been before: asking
	// again is harmless.
	Granted = "granted"
	// Taken: the key is another token's. The node may have been started and must
	// not be.
	Taken = "taken"
)

// Request asks for the key of one node of one occasion.
type Request struct {
	FlowID   string `json:"flow_id" maxLength:"128" pattern:"^[A-Za-z0-9_-]+$" patternDescription:"made of A-Z a-z 0-9 _ -" doc:"Id of the flow"`
	Occasion string `json:"occasion" format:"uuid" doc:"What asked for the cycle: the flow's incarnation and its slot or trigger, as a UUID"`
	NodeID   string `json:"node_id" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$" patternDescription:"made of A-Z a-z 0-9 _ -" doc:"Id of the node"`
	Token    string `json:"token" format:"uuid" doc:"Token of the claim under which the node is to be started"`
}

// Reply is the answer to a Request.
type Reply struct {
	Answer string `json:"answer" enum:"granted,taken" doc:"granted: the key is this token's, start the node; taken: it is another's, the node must not be started"`
}
