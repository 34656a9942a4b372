// Package api holds the JSON types of the HTTP API under /api/v1. The server
// writes them and the client reads them, so both sides agree by construction.
//
// Instants are RFC 3339 in UTC with milliseconds; an instant that has not come
// yet is left out. Durations are numbers of seconds and their names end in
// _seconds. A field is only ever added: a client ignores what it does not know.
package api
