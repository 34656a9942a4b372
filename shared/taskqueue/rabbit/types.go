package rabbit

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/taskqueue"
)

// Types of queues.
const (
	// Quorum queues are replicated and survive the loss of a minority of brokers.
	Quorum = "quorum"
	// Classic queues live on one broker; their messages survive its restart.
	Classic = "classic"
	// Transient queues are classic queues whose messages need not survive anything.
	Transient = "transient"
	// Auto is Quorum with several brokers and Transient with one.
	Auto = "auto"
)

var types = []string{Auto, Quorum, Classic, Transient}

// ParseTypes checks the type of queues as it is set and reads the exceptions from it,
// each as pool=type. All faults are listed.
func ParseTypes(kind string, entries []string) (map[string]string, error) {
	pools := map[string]string{}
	var faults []error
	if !slices.Contains(types, kind) {
		faults = append(faults, fmt.Errorf("queue type: %q is none; want %s", kind, oneOf()))
	}
	for _, e := range entries {
		pool, kind, found := strings.Cut(strings.TrimSpace(e), "=")
		_, twice := pools[pool]
		switch {
		case !found:
			faults = append(faults, fmt.Errorf("pool queue types: %q is not of the form POOL=TYPE", e))
			continue
		case twice:
			faults = append(faults, fmt.Errorf("pool queue types: pool %q has two", pool))
		}
		pools[pool] = kind
	}
	return pools, errors.Join(append(faults, checkPools(pools)...)...)
}

func checkPools(pools map[string]string) (faults []error) {
	for pool, kind := range pools {
		if err := ids.CheckPool(pool); err != nil {
			faults = append(faults, fmt.Errorf("pool queue types: %w", err))
		}
		if !slices.Contains(types, kind) {
			faults = append(faults, fmt.Errorf("pool queue types: %q of pool %q is no type; want %s", kind, pool, oneOf()))
		}
	}
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return faults
}

func oneOf() string {
	last := len(types) - 1
	return strings.Join(types[:last], ", ") + " or " + types[last]
}

// kind is the type that a queue is to have: one of Quorum, Classic and Transient.
func (c Config) kind(queue string) string {
	kind := c.QueueType
	if pool, of := strings.CutPrefix(queue, taskqueue.Queue(c.Prefix, "")); of && c.PoolTypes[pool] != "" {
		kind = c.PoolTypes[pool]
	}
	switch {
	case kind != "" && kind != Auto:
		return kind
	case len(c.urls()) > 1:
		return Quorum
	}
	return Transient
}

// delivery is the delivery mode of messages to a queue.
func (c Config) delivery(queue string) uint8 {
	if c.kind(queue) == Transient {
		return amqp.Transient
	}
	return amqp.Persistent
}

// keeps tells whether a queue of that type has, after a restart of its broker, all
// that was confirmed.
func keeps(kind string) bool { return kind == Quorum }
