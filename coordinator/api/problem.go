package api

// ProblemType is the content type of every answer that is an error.
const ProblemType = "application/problem+json"

// Codes of problems that the server itself gives. A service adds its own,
// as "paused" or "unknown_node_type".
const (
	CodeInvalidFlow      = "invalid_flow"
	CodeInvalidRequest   = "invalid_request" // a parameter or a header
	CodeBadID            = "bad_id"
	CodeNotFound         = "not_found"
	CodeMethodNotAllowed = "method_not_allowed"
	CodeTooLarge         = "too_large"
	CodeUnsupportedType  = "unsupported_media_type"
	CodeConflict         = "conflict"
	CodeUnavailable      = "unavailable"
	CodeTimeout          = "timeout"
	CodeInternal         = "internal"
)

// Problem is an error as the API answers it: RFC 9457 with a code for
// programs and the list of all faults.
type Problem struct {
	Type   string  `json:"type,omitempty" doc:"Always about:blank; the code tells problems apart"`
	Title  string  `json:"title" doc:"Text of the HTTP status"`
	Status int     `json:"status" doc:"HTTP status"`
	Code   string  `json:"code" doc:"What went wrong, for programs"`
	Detail string  `json:"detail,omitempty" doc:"What went wrong, for people"`
	Errors []Fault `json:"errors,omitempty" doc:"Every fault found, not only the first"`
}

// Fault is one thing wrong in a document or a request.
type Fault struct {
	Code    string `json:"code" doc:"For programs"`
	Place   string `json:"place,omitempty" doc:"Where, as nodes[3].type or query.limit"`
	Message string `json:"message" doc:"What is wrong and what to do"`
}

// String returns "place: message".
func (f Fault) String() string {
	if f.Place == "" {
		return f.Message
	}
	return f.Place + ": " + f.Message
}

// Readiness is the answer of GET /readyz of a process that is ready.
type Readiness struct {
	Ready        bool         `json:"ready"`
	Dependencies []Dependency `json:"dependencies" nullable:"false"`
}

// Liveness is the answer of GET /livez of a process that makes progress.
type Liveness struct {
	Live    bool   `json:"live"`
	Version string `json:"version"`
}
