package floor

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// claim marks a node as begun by the caller, unless an epoch shuts it out or it
// was begun before. KEYS: states. ARGV: node, token, epoch.
var claim = redis.NewScript(`
local s = redis.call('HMGET', KEYS[1], 'epoch', ARGV[1])
if s[1] and tonumber(s[1]) > tonumber(ARGV[3]) then return -1 end
if s[2] and s[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1`)

// complete ends a node that the caller began, and says so in the stream.
// KEYS: states, events. ARGV: node, token.
var complete = redis.NewScript(`
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], 'done')
redis.call('XADD', KEYS[2], '*', 'n', ARGV[1])
return 1`)

// start begins a cycle at its slot and tells how late that is, in microseconds.
// KEYS: states. ARGV: cycle, slot in microseconds.
var start = redis.NewScript(`
local t = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return t[1] * 1000000 + t[2] - ARGV[2]`)

// errUnexpected is a script that finds what cannot be: the run is void.
var errUnexpected = errors.New("a script found a node in a state that it can't be in; does another run use the same name?")

// task is the message that offers a node.
type task struct {
	cycle uint32 // of all cycles of the job, from 0
	node  uint32
	sleep time.Duration
}

const taskLen = 16

func (t task) encode() []byte {
	b := make([]byte, 0, taskLen)
	b = binary.BigEndian.AppendUint32(b, t.cycle)
	b = binary.BigEndian.AppendUint32(b, t.node)
	return binary.BigEndian.AppendUint64(b, uint64(t.sleep))
}

func decode(b []byte) (task, bool) {
	if len(b) != taskLen {
		return task{}, false
	}
	return task{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), time.Duration(binary.BigEndian.Uint64(b[8:]))}, true
}

// id names the node in the ledger's place: its first 8 bytes.
func id(body []byte) string { return string(body[:8]) }
