package rds_test

import (
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/rds"
)

// A database instance has an interface in its zone, and with Multi-AZ in another
// one too; they block the deletion of subnets and go with the instance.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_VPC.WorkingWithRDSInstanceinaVPC.html
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/requester-managed-eni.html
func TestInterfacesOfDatabases(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(t, func(tx *account.Tx) error {
		r, d, err := tx.Create(rds.TypeInstance, w.instance(map[string]any{"MultiAZ": true}), "", true)
		if err != nil {
			return err
		}
		faces := ec2.InterfacesOf(tx, props.Str(r.Attrs, "DBInstanceArn"))
		if len(faces) != 2 {
			t.Errorf("%d interfaces, want two", len(faces))
		}
		zones := map[string]bool{}
		for _, f := range faces {
			if props.Str(f.Props, "Description") != "RDSNetworkInterface" || f.Data["requester"] != "amazon-rds" || f.Status != "in-use" {
				t.Errorf("interface %v of %v is %s", f.Props, f.Data["requester"], f.Status)
			}
			s := tx.Get(ec2.TypeSubnet, props.Str(f.Props, "SubnetId"))
			zones[ec2.ZoneOf(s).Name] = true
			if _, err := tx.Delete(s, false); err == nil {
				t.Error("the subnet of a database can be deleted")
			}
		}
		if len(zones) != 2 {
			t.Errorf("the interfaces are in %v, want two zones", zones)
		}
		w.now = w.now.Add(d + time.Hour)
		return nil
	})
	w.do(t, func(tx *account.Tx) error {
		_, err := tx.Delete(tx.Get(rds.TypeInstance, "db"), true)
		return err
	})
	w.now = w.now.Add(time.Hour)
	w.do(t, func(tx *account.Tx) error {
		if n := tx.Count(ec2.TypeNetworkInterface); n != 0 {
			t.Errorf("%d interfaces are left", n)
		}
		return nil
	})
}
