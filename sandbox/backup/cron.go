package backup

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// cronFields matches AWS's six fields; five and seven are common mistakes.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cron-expressions.html
var cronFields = regexp.MustCompile(`^cron\(\S+( \S+){5}\)$`)

// everyDay is the schedule of a rule that gives none.
// https://docs.aws.amazon.com/aws-backup/latest/devguide/creating-a-backup-plan.html
const everyDay = "cron(0 5 ? * * *)"

// schedule is a cron expression: the minutes, hours, days, months and years at
// which it holds. In AWS's counting Sunday is 1.
type schedule struct {
	minutes, hours, days, months, weekdays, years []int
	lastDay                                       bool // of the month
	anyDay, anyWeekday                            bool // written * or ?
}

var (
	monthNames   = []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}
	weekdayNames = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}
)

// parseSchedule reads a cron expression. W, # and L with a number are not
// modelled.
func parseSchedule(text string) (schedule, error) {
	var s schedule
	bad := account.Errorf("InvalidParameterValueException", "Invalid schedule expression %s", text)
	if !cronFields.MatchString(text) {
		return s, bad
	}
	fields := strings.Fields(strings.TrimSuffix(strings.TrimPrefix(text, "cron("), ")"))
	s.anyDay, s.anyWeekday = fields[2] == "*" || fields[2] == "?", fields[4] == "*" || fields[4] == "?"
	// One of the two days must be a question mark.
	if (fields[2] == "?") == (fields[4] == "?") {
		return s, bad
	}
	if fields[2] == "L" {
		s.lastDay, fields[2] = true, "*"
	}
	for i, f := range []struct {
		to        *[]int
		low, high int
		names     []string
		first     int
	}{
		{&s.minutes, 0, 59, nil, 0},
		{&s.hours, 0, 23, nil, 0},
		{&s.days, 1, 31, nil, 0},
		{&s.months, 1, 12, monthNames, 1},
		{&s.weekdays, 1, 7, weekdayNames, 1},
		{&s.years, 1970, 2199, nil, 0},
	} {
		bare := strings.ToUpper(fields[i])
		for _, n := range f.names {
			bare = strings.ReplaceAll(bare, n, "")
		}
		if strings.ContainsAny(bare, "LW#") {
			return s, account.NotModelled("schedule expression %s is not modelled by the sandbox", text)
		}
		values, ok := parseField(fields[i], f.low, f.high, f.names, f.first)
		if !ok {
			return s, bad
		}
		*f.to = values
	}
	return s, nil
}

// parseField lists the values of a field.
func parseField(text string, low, high int, names []string, first int) ([]int, bool) {
	number := func(t string) (int, bool) {
		if i := slices.Index(names, strings.ToUpper(t)); i >= 0 {
			return i + first, true
		}
		n, err := strconv.Atoi(t)
		return n, err == nil && n >= low && n <= high
	}
	var out []int
	for part := range strings.SplitSeq(text, ",") {
		span, steps, stepped := strings.Cut(part, "/")
		step, from, to := 1, low, high
		if stepped {
			n, err := strconv.Atoi(steps)
			if err != nil || n < 1 {
				return nil, false
			}
			step = n
		}
		if span != "*" && span != "?" {
			a, b, ranged := strings.Cut(span, "-")
			var ok bool
			if from, ok = number(a); !ok {
				return nil, false
			}
			switch {
			case ranged:
				if to, ok = number(b); !ok || to < from {
					return nil, false
				}
			case !stepped:
				to = from
			}
		}
		for n := from; n <= to; n += step {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), true
}

// next is when the schedule holds next after a time, in UTC; false if never
// again within some years.
func (s schedule) next(after time.Time) (time.Time, bool) {
	after = after.UTC()
	day := time.Date(after.Year(), after.Month(), after.Day(), 0, 0, 0, 0, time.UTC)
	for range 5 * 366 {
		if s.on(day) {
			for _, h := range s.hours {
				for _, m := range s.minutes {
					if at := day.Add(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute); at.After(after) {
						return at, true
					}
				}
			}
		}
		day = day.AddDate(0, 0, 1)
	}
	return time.Time{}, false
}

// on tells whether the schedule holds on a day.
func (s schedule) on(day time.Time) bool {
	if !slices.Contains(s.years, day.Year()) || !slices.Contains(s.months, int(day.Month())) {
		return false
	}
	if s.lastDay {
		return day.AddDate(0, 0, 1).Day() == 1
	}
	return (s.anyDay || slices.Contains(s.days, day.Day())) && (s.anyWeekday || slices.Contains(s.weekdays, int(day.Weekday())+1))
}
