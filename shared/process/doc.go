// Package process is what every binary does around its work: settings, logs,
// signals, supervised loops, health and exit codes. It knows nothing of flows.
//
// # Settings
//
// Parse fills a struct tagged for kong from four sources. A flag on the command
// line beats an environment variable, that beats the config file, and that beats
// the default in the tag. The flag --redis-url is the variable
// STATION_REDIS_URL, and redis_url or redis: {url: …} in the file. For secrets,
// STATION_REDIS_URL_FILE names a file that holds the value. An empty variable
// counts as unset. All faults of environment and file are listed together, each
// with its place.
//
// # How a process ends
//
// The first SIGTERM or SIGINT ends the context that Signals gives, and the
// process winds up: a Group stops its stages in reverse order and waits for each
// service. The second signal exits at once with 128 + its number. A service that
// returns while nothing asked it to stops the whole group, for nothing is
// restarted in place: the supervisor of the process does that.
//
// # Health
//
// /livez fails when a registered loop has made no progress within its bound: a
// reason to restart the process. /readyz fails when a dependency does not
// answer or the process winds up: a reason to send it no requests, and none to
// restart it.
package process
