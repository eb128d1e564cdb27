package deploy

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
)

type names = []architecture.StackName

func TestInOrder(t *testing.T) {
	before := func(n architecture.StackName) names {
		return map[architecture.StackName]names{"b": {"a"}, "c": {"a"}, "d": {"b", "c"}, "e": {"elsewhere"}}[n]
	}
	boom := errors.New("boom")
	for _, tt := range []struct {
		name string
		fail architecture.StackName
		ran  names
		err  error
	}{
		{name: "all", ran: names{"a", "b", "c", "d", "e"}},
		{name: "what depends on a failed one is left out, the rest goes on", fail: "b", ran: names{"a", "b", "c", "e"}, err: boom},
		{name: "the first one fails", fail: "a", ran: names{"a", "e"}, err: boom},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var ran names
			err := inOrder(t.Context(), names{"a", "b", "c", "d", "e"}, before, func(_ context.Context, n architecture.StackName) error {
				mu.Lock()
				defer mu.Unlock()
				for _, b := range before(n) {
					if b != "elsewhere" && !slices.Contains(ran, b) {
						t.Errorf("%s ran before %s", n, b)
					}
				}
				ran = append(ran, n)
				if n == tt.fail {
					return boom
				}
				return nil
			})
			if !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			slices.Sort(ran)
			if diff := cmp.Diff(tt.ran, ran); diff != "" {
				t.Errorf("what ran (-want +got):\n%s", diff)
			}
		})
	}
}

func TestInOrderRunsSideBySideWhatItCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		before := func(n architecture.StackName) names {
			if n == "d" {
				return names{"a", "b", "c"}
			}
			return nil
		}
		err := inOrder(t.Context(), names{"a", "b", "c", "d"}, before, func(context.Context, architecture.StackName) error {
			time.Sleep(time.Minute)
			return nil
		})
		if took := time.Since(start); err != nil || took != 2*time.Minute {
			t.Errorf("three side by side, then one: took %v (%v), want 2m", took, err)
		}
	})
}

func TestInOrderStartsNothingAfterAnInterrupt(t *testing.T) {
	reason := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	var ran int
	err := inOrder(ctx, names{"a", "b"}, func(n architecture.StackName) names {
		if n == "b" {
			return names{"a"}
		}
		return nil
	}, func(context.Context, architecture.StackName) error {
		ran++
		cancel(reason)
		return nil
	})
	if ran != 1 || !errors.Is(err, reason) {
		t.Errorf("%d ran, error %v; want 1 and the reason of the interrupt", ran, err)
	}
}

func TestCriticalPath(t *testing.T) {
	takes := map[architecture.StackName]time.Duration{"keys": 2, "network": 3, "database": 9, "cluster": 10, "nodes": 3, "edge": 1}
	before := after([]architecture.Stack{
		{Name: "network", After: names{"keys"}},
		{Name: "database", After: names{"keys", "network"}},
		{Name: "cluster", After: names{"network", "not planned"}},
		{Name: "nodes", After: names{"cluster"}},
	})
	path, total := criticalPath(names{"keys", "network", "database", "cluster", "nodes", "edge"}, before, takes)
	want := []PathStep{{"keys", 2}, {"network", 3}, {"cluster", 10}, {"nodes", 3}}
	if diff := cmp.Diff(want, path); diff != "" || total != 18 {
		t.Errorf("total %v, want 18; path (-want +got):\n%s", total, diff)
	}
}

func TestStackTimeFollowsEveryKindOfReference(t *testing.T) {
	body := []byte(`{"Resources":{
		"Cluster":{"Type":"AWS::EKS::Cluster","Properties":{"RoleArn":{"Fn::GetAtt":["Role","Arn"]}}},
		"Role":{"Type":"AWS::IAM::Role"},
		"Addon":{"Type":"AWS::EKS::Addon","Properties":{"ClusterName":{"Ref":"Cluster"}}},
		"Late":{"Type":"AWS::EKS::Addon","DependsOn":"Addon"},
		"Last":{"Type":"AWS::EKS::Addon","Properties":{"X":{"Fn::Sub":"${Late}-x"},"Y":{"Fn::Sub":["${Late.Arn}",{}]}}},
		"Aside":{"Type":"AWS::S3::Bucket"}}}`)
	want := overhead + (12+600+15+15+15)*time.Second
	if got := createTime(body); got != want {
		t.Errorf("create takes %v, want %v", got, want)
	}
}
