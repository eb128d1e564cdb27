package deploy_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/acm"
	acmtypes "github.com/aws/aws-sdk-go-v2/service/acm/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// answer is a response that AWS would give.
func answer(r *http.Request, status int, kind, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(body)), Request: r,
	}
}

func target(r *http.Request) string {
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	return op
}

// form is a request in the query protocol.
func form(t *testing.T, r *http.Request) url.Values {
	t.Helper()
	if r.Body == nil || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		return nil
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	r.Body = io.NopCloser(strings.NewReader(string(b)))
	v, err := url.ParseQuery(string(b))
	if err != nil {
		t.Error(err)
	}
	return v
}

// TestL08OverdueIsNeverClean: a log group that comes back again and again is no
// progress; when nothing else moves the delete ends, and names it. Credentials
// that end meanwhile are no blocker but end the run.
func TestL08OverdueIsNeverClean(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.stack(a, architecture.Parameters, parameters)
		api, group := w.target(a).AWS, a.LogGroup("again")
		again := &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &group, Tags: map[string]string{deploy.Tag: a.Name()}}
		if _, err := api.Logs.CreateLogGroup(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		expired := w.target(a)
		expired.AWS = w.through(a, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			if target(r) == "DeleteLogGroup" {
				return answer(r, http.StatusBadRequest, "application/x-amz-json-1.1", `{"__type":"ExpiredTokenException","message":"expired"}`), nil
			}
			return next.RoundTrip(r)
		})
		var blocked *deploy.BlockedError
		_, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: expired, Data: deploy.DestroyData})
		var paused *deploy.PausedError
		if !errors.As(err, &paused) || errors.As(err, &blocked) {
			t.Errorf("credentials that ended: %v", err)
		}

		w.stack(a, architecture.Parameters, parameters)
		coming := w.target(a)
		coming.AWS = w.through(a, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			res, err := next.RoundTrip(r)
			if target(r) == "DeleteLogGroup" && err == nil {
				if _, err := api.Logs.CreateLogGroup(r.Context(), again); err != nil {
					return nil, err
				}
			}
			return res, err
		})
		start := time.Now()
		d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: coming, Data: deploy.DestroyData, Stall: 10 * time.Minute})
		if !errors.As(err, &blocked) || d.Outcome != deploy.Blocked || len(d.Blockers) != 1 || d.Blockers[0].ID != group {
			t.Errorf("what comes back: %+v, %v", d, err)
		}
		if took := time.Since(start); took > 20*time.Minute {
			t.Errorf("it took %s", took)
		}
		w.clean(w.destroy(a))
	})
}

// TestL06WhatIsUnderAKeyKeepsIt: what is encrypted under a key of the
// deployment's, and neither bears its name nor carries its tag, keeps the key.
func TestL06WhatIsUnderAKeyKeepsIt(t *testing.T) {
	t.Parallel()
	for kind, fake := range map[string][2]string{
		"AWS::EC2::Snapshot":   {"DescribeSnapshots", `<DescribeSnapshotsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><snapshotSet><item><snapshotId>theirs</snapshotId><volumeId>vol-1</volumeId><status>completed</status><kmsKeyId>%s</kmsKeyId></item></snapshotSet></DescribeSnapshotsResponse>`},
		"AWS::EC2::Volume":     {"DescribeVolumes", `<DescribeVolumesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><volumeSet><item><volumeId>theirs</volumeId><status>available</status><kmsKeyId>%s</kmsKeyId></item></volumeSet></DescribeVolumesResponse>`},
		"AWS::RDS::DBSnapshot": {"DescribeDBSnapshots", `<DescribeDBSnapshotsResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/"><DescribeDBSnapshotsResult><DBSnapshots><DBSnapshot><DBSnapshotIdentifier>theirs</DBSnapshotIdentifier><DBInstanceIdentifier>restored</DBInstanceIdentifier><Status>available</Status><KmsKeyId>%s</KmsKeyId></DBSnapshot></DBSnapshots></DescribeDBSnapshotsResult></DescribeDBSnapshotsResponse>`},
		"AWS::RDS::DBInstance": {"DescribeDBInstances", `<DescribeDBInstancesResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/"><DescribeDBInstancesResult><DBInstances><DBInstance><DBInstanceIdentifier>theirs</DBInstanceIdentifier><DBInstanceStatus>available</DBInstanceStatus><KmsKeyId>%s</KmsKeyId></DBInstance></DBInstances></DescribeDBInstancesResult></DescribeDBInstancesResponse>`},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, "evaluation")
				w := newWorld(t, a, sandbox.Options{Fresh: true})
				key := testkit.MustCreate(t, w.box, "AWS::KMS::Key", map[string]any{"Tags": awsTags(deploy.Tag, a.Name()), "KeyPolicy": map[string]any{"Statement": []any{map[string]any{
					"Effect": "Allow", "Principal": map[string]any{"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*", "Resource": "*",
				}}}}).ID
				there := w.target(a)
				there.AWS = w.through(a, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
					f := form(t, r)
					switch do := f.Get("Action"); {
					case do == fake[0] && f.Get("SnapshotType") != "awsbackup":
						return answer(r, http.StatusOK, "text/xml", fmt.Sprintf(fake[1], "arn:aws:kms:us-east-1:123456789012:key/"+key)), nil
					case strings.HasPrefix(do, "Delete"):
						t.Errorf("%s was called", do)
					}
					return next.RoundTrip(r)
				})
				d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: there, Data: deploy.DestroyData})
				if err != nil || d.Outcome != deploy.Retained {
					t.Fatalf("got %+v, %v", d, err)
				}
				if k := keptAs(t, d, "AWS::KMS::Key", key); !k.Until.IsZero() || !strings.Contains(k.Why, kind+" theirs") {
					t.Errorf("the key is kept as %+v", k)
				}
				keptAs(t, d, kind, "theirs")
				w.clean(w.destroy(a))
			})
		})
	}
}

// TestL06SnapshotOrNothing: a database that another run has deleted, or is
// deleting, has left a last snapshot, or the delete that was to make one says
// that the data is lost.
func TestL06SnapshotOrNothing(t *testing.T) {
	t.Parallel()
	for _, snapshot := range []string{"", "poolside-final-before"} {
		t.Run(snapshot, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, "evaluation")
				w := newWorld(t, a, sandbox.Options{Fresh: true})
				w.create(a)
				in := &rds.DeleteDBInstanceInput{DBInstanceIdentifier: new(a.DatabaseName()), SkipFinalSnapshot: new(snapshot == "")}
				if snapshot != "" {
					in.FinalDBSnapshotIdentifier = &snapshot
				}
				if _, err := w.target(a).AWS.RDS.DeleteDBInstance(t.Context(), in); err != nil {
					t.Fatal(err)
				}
				d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.SnapshotData})
				if snapshot == "" {
					if err == nil || !strings.Contains(err.Error(), "is lost") || d.Outcome != deploy.Blocked {
						t.Errorf("without a snapshot: %+v, %v", d, err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				keptAs(t, d, "AWS::RDS::DBSnapshot", snapshot)
			})
		})
	}
}

// TestL06APointThatJustCameStays: a recovery point that a job makes while the
// vault is looked at is not deleted, and the vault stays.
func TestL06APointThatJustCameStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.stack(a, architecture.Backup, `{"Resources":{"V":{"Type":"AWS::Backup::BackupVault","DeletionPolicy":"Retain","Properties":{"BackupVaultName":"ours"}}}}`)
		looks := 0
		racing := w.target(a)
		racing.AWS = w.through(a, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			switch {
			case r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/recovery-points/"):
				t.Error("the point was deleted")
			case r.Method == http.MethodDelete && strings.HasPrefix(r.URL.Path, "/backup-vaults/"):
				looks++
				return answer(r, http.StatusBadRequest, "application/json", `{"__type":"InvalidRequestException","message":"it has points"}`), nil
			case strings.HasSuffix(strings.TrimSuffix(r.URL.Path, "/"), "/recovery-points"):
				if looks++; looks > 1 {
					return answer(r, http.StatusOK, "application/json", `{"RecoveryPoints":[{"RecoveryPointArn":"arn:p"}]}`), nil
				}
			}
			return next.RoundTrip(r)
		})
		d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: racing, Data: deploy.SnapshotData})
		if err != nil {
			t.Fatal(err)
		}
		keptAs(t, d, "AWS::Backup::BackupVault", "ours")
	})
}

// TestL10CertificateThatIsLetGo: ACM says for some minutes that a load balancer
// which is gone uses a certificate: that is awaited.
func TestL10CertificateThatIsLetGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.stack(a, architecture.Parameters, parameters)
		_, err := w.target(a).AWS.ACM.RequestCertificate(t.Context(), &acm.RequestCertificateInput{
			DomainName: new("x.example.com"), ValidationMethod: acmtypes.ValidationMethodDns, KeyAlgorithm: acmtypes.KeyAlgorithmEcPrime256v1,
			Tags: []acmtypes.Tag{{Key: new(deploy.Tag), Value: new(a.Name())}},
		})
		if err != nil {
			t.Fatal(err)
		}
		free := time.Now().Add(10 * time.Minute)
		used := w.target(a)
		used.AWS = w.through(a, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			if time.Now().Before(free) {
				switch target(r) {
				case "DeleteCertificate":
					return answer(r, http.StatusBadRequest, "application/x-amz-json-1.1", `{"__type":"ResourceInUseException","message":"in use"}`), nil
				case "DescribeCertificate":
					return answer(r, http.StatusOK, "application/x-amz-json-1.1", `{"Certificate":{"InUseBy":["arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/gone/1"]}}`), nil
				}
			}
			return next.RoundTrip(r)
		})
		d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: used, Data: deploy.DestroyData})
		if err != nil || d.Outcome != deploy.Clean || time.Now().Before(free) {
			t.Errorf("got %+v, %v", d, err)
		}
		if n := len(w.find("AWS::CertificateManager::Certificate")); n > 0 {
			t.Errorf("%d certificates are left", n)
		}
	})
}
