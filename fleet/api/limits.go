package api

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/time/rate"
)

// limits are quotas by name and by address (H15). They are of this process: several
// that serve one fleet allow that many times as much.
type limits struct {
	rate  rate.Limit
	burst int

	mu sync.Mutex
	of map[string]*rate.Limiter
}

const (
	perSecond = 50
	burst     = 200

	// A password takes long to check, and guessing should take longer.
	loginsPerSecond = 0.5
	loginBurst      = 20

	remember = 100_000
)

func newLimits(each rate.Limit, burst int) *limits {
	return &limits{rate: each, burst: burst, of: map[string]*rate.Limiter{}}
}

func (l *limits) allow(who string) bool { return l.limiter(who).Allow() }

func (l *limits) limiter(who string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.of) > remember {
		clear(l.of)
	}
	if l.of[who] == nil {
		l.of[who] = rate.NewLimiter(l.rate, l.burst)
	}
	return l.of[who]
}

// sending is the operation that brings evidence.
const sending = "send"

const (
	// bytesPerSecond of evidence of one name are 20 GiB a day: a hundred thousand
	// machines of the size that was measured, each once.
	bytesPerSecond = 256 << 10
	bytesBurst     = 2 << 30

	// maxInFlight bounds the bytes of evidence that are in memory at a time.
	maxInFlight = 1 << 30
)

// bytesLimits are what evidence may take: of one name, and of all in memory.
type bytesLimits struct {
	names *limits

	mu       sync.Mutex
	inFlight int64
}

func newBytesLimits() *bytesLimits { return &bytesLimits{names: newLimits(bytesPerSecond, bytesBurst)} }

// pass lets evidence in whose length is known and within both.
func (b *bytesLimits) pass(h huma.API, c huma.Context, name string, next func()) {
	n, err := strconv.ParseInt(c.Header("Content-Length"), 10, 64)
	if err != nil || n < 0 {
		_ = huma.WriteErr(h, c, http.StatusLengthRequired, "evidence has to say how long it is")
		return
	}
	if n > MaxEvidence {
		_ = huma.WriteErr(h, c, http.StatusRequestEntityTooLarge, "evidence of more bytes than a bundle may have")
		return
	}
	if !b.claim(n) {
		c.SetHeader("Retry-After", "5")
		_ = huma.WriteErr(h, c, http.StatusServiceUnavailable, "as much evidence comes in as the server holds at a time")
		return
	}
	defer b.claim(-n)
	if r := b.names.limiter("who:"+name).ReserveN(time.Now(), int(n)); !r.OK() || r.Delay() > 0 {
		r.Cancel()
		c.SetHeader("Retry-After", strconv.Itoa(1+int(min(r.Delay(), time.Hour).Seconds())))
		_ = huma.WriteErr(h, c, http.StatusTooManyRequests, "more evidence of one name than there may be")
		return
	}
	next()
}

// claim takes room for bytes, or gives it back.
func (b *bytesLimits) claim(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > 0 && b.inFlight+n > maxInFlight {
		return false
	}
	b.inFlight += n
	return true
}
