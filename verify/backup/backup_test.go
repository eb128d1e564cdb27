package backup

import (
	"testing"
	"time"
)

func TestBetween(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for schedule, want := range map[string]time.Duration{
		"cron(0 4 * * ? *)":      3 * day,
		"cron(0 4,16 ? * * *)":   3 * day,
		"cron(0 4 ? * SUN *)":    9 * day,
		"cron(0 4 1 * ? *)":      33 * day,
		"cron(0 4 1 1 ? *)":      0,
		"cron(0 4 * * ? 2027)":   0,
		"cron(0 4 * *)":          0,
		"rate(1 day)":            0,
		"":                       0,
		"cron(0 4 ? * 2#1 *)":    9 * day,
		"cron(0 4 ? JAN-MAR * )": 0,
	} {
		if got := between(schedule); got != want {
			t.Errorf("%q: %s, not %s", schedule, got, want)
		}
	}
}
