package expr

import (
	"container/list"
	"sync"
)

// DefaultCacheSize is the number of programs a Cache keeps when it was given no
// other.
const DefaultCacheSize = 1024

// Cache compiles each expression once and keeps the ones used last. Compiling
// takes some hundred microseconds, evaluating a few. It is safe for concurrent
// use.
type Cache struct {
	size int

	mu     sync.Mutex
	order  *list.List // of *entry, the one used last in front
	byName map[cacheKey]*list.Element
}

type cacheKey struct {
	source string
	kind   Kind
}

type entry struct {
	key     cacheKey
	program *Program
}

// NewCache returns a cache of at most size programs; DefaultCacheSize if size
// is not positive.
func NewCache(size int) *Cache {
	if size <= 0 {
		size = DefaultCacheSize
	}
	return &Cache{size: size, order: list.New(), byName: map[cacheKey]*list.Element{}}
}

// Compile is the package's Compile with memory. Failures are not kept. Two
// callers that miss at once may both compile; they get equal programs.
func (c *Cache) Compile(src string, kind Kind) (*Program, error) {
	key := cacheKey{src, kind}
	if p := c.get(key); p != nil {
		return p, nil
	}
	p, err := Compile(src, kind)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byName[key]; ok {
		return e.Value.(*entry).program, nil
	}
	c.byName[key] = c.order.PushFront(&entry{key, p})
	if c.order.Len() > c.size {
		oldest := c.order.Back()
		c.order.Remove(oldest)
		delete(c.byName, oldest.Value.(*entry).key)
	}
	return p, nil
}

// Len returns the number of programs kept.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len()
}

func (c *Cache) get(key cacheKey) *Program {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byName[key]
	if !ok {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*entry).program
}
