// Package httpapi serves the HTTP API of a coordinator: the calls under
// /api/v1, two calls kept for clients of the earlier product, the health and
// metrics endpoints, the OpenAPI description and a page of links. Every replica
// serves all of it. What a call means is the business of the Service behind it.
//
// How it fails. Every answer that is an error is application/problem+json with
// a code for programs and the list of all faults, whichever layer refused:
// routing (404, 405), reading a body (408, 413, 415), parameters (400), the
// service (400, 404, 409, 503), a deadline (504) or a defect (500). The text of
// an unexpected error goes to the log and never to the client. A panic ends one
// request, not the process. When a panic comes after the first byte of an
// answer the connection is cut, so a client never takes half an answer for a
// whole one.
//
// A stream of runs (POST /runs) answers each line by a line, and an error is the problem in
// that line: a bad line, a run that can't be started, or one that panics ends nothing but itself. No
// more lines are read while 1,024 have no answer. It ends when the client says
// that there is no more, after two minutes without a line, at a line that is too long, whose end
// nobody waits for, and when the coordinator stops. Where it is not the client who ends it, a line says so, on which a client
// goes elsewhere with new runs; what was begun is answered yet, within the grace that a coordinator that stops gives. When the
// connection breaks, when a client takes in nothing for half a minute, or when that grace is over, what waits is given up, and the
// cycles go on: the client asks again with the same keys. The connection is closed behind a stream: what
// comes after its end is no request. A proxy that keeps bodies back until they are whole lets no stream begin.
//
// There is no authentication. Requests that a browser sends on behalf of a page
// of another origin are refused when they would change something, so a page
// can't drive a coordinator that listens on the loopback address.
package httpapi
