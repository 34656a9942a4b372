package floor

import "context"

// atOnce is how much a stage takes at once.
const atOnce = 128

// take waits for something and returns it with all else that waits, up to atOnce,
// in the space of buf; nothing when ctx ended or the channel was closed.
func take[T any](ctx context.Context, from <-chan T, buf []T) []T {
	buf = buf[:0]
	select {
	case v, ok := <-from:
		if !ok {
			return nil
		}
		buf = append(buf, v)
	case <-ctx.Done():
		return nil
	}
	for len(buf) < atOnce {
		select {
		case v, ok := <-from:
			if !ok {
				return buf
			}
			buf = append(buf, v)
		default:
			return buf
		}
	}
	return buf
}

// put hands v on; false when ctx ended.
func put[T any](ctx context.Context, to chan<- T, v T) bool {
	select {
	case to <- v:
		return true
	case <-ctx.Done():
		return false
	}
}
