package api

import (
	"fmt"
	"maps"
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// placeListings are regions and zones, the account itself, and all tags.
func placeListings() []listing {
	return []listing{
		{
			name: "DescribeAvailabilityZones", set: "availabilityZoneInfo", unpaged: true, ids: map[string]string{"ZoneName": "zoneName", "ZoneId": "zoneId"},
			missing: [2]string{"InvalidParameterValue", "Invalid availability zone: [%s]"},
			filters: map[string]string{
				"zone-name": "zoneName", "zone-id": "zoneId", "state": "zoneState", "region-name": "regionName", "group-name": "groupName",
				"opt-in-status": "optInStatus", "zone-type": "zoneType",
			},
			items: func(tx *account.Tx, _ *wire.Request) ([]object, error) {
				var out []object
				for i, z := range tx.Zones() {
					state := "available"
					if tx.Lost(z.Name) {
						state = "unavailable"
					}
					out = append(out, object{
						"zoneName": z.Name, "zoneId": z.ID, "zoneState": state, "zoneType": "availability-zone", "regionName": tx.Region(),
						"groupName": fmt.Sprintf("%s-zg-%d", tx.Region(), i/3+1), "networkBorderGroup": tx.Region(), "optInStatus": "opt-in-not-required", "messageSet": []any{},
					})
				}
				return out, nil
			},
		},
		{
			name: "DescribeRegions", set: "regionInfo", unpaged: true, ids: map[string]string{"RegionName": "regionName"},
			missing: [2]string{"InvalidParameterValue", "Invalid region provided: [%s]"},
			filters: map[string]string{"region-name": "regionName", "opt-in-status": "optInStatus", "endpoint": "regionEndpoint"},
			items: func(tx *account.Tx, _ *wire.Request) ([]object, error) {
				var out []object
				for _, w := range append([]account.Region{{Name: tx.Region()}}, tx.World().Regions...) {
					out = append(out, object{"regionName": w.Name, "regionEndpoint": "ec2." + w.Name + ".amazonaws.com", "optInStatus": "opt-in-not-required"})
				}
				return out, nil
			},
		},
		{
			name: "DescribeAccountAttributes", set: "accountAttributeSet", unpaged: true, ids: map[string]string{"AttributeName": "attributeName"},
			missing: [2]string{"InvalidParameterValue", "Value (%s) for parameter attribute is invalid. Unknown account attribute."},
			items: func(tx *account.Tx, _ *wire.Request) ([]object, error) {
				vpc := "none"
				if v := ec2.DefaultVPC(tx); v != nil {
					vpc = v.ID
				}
				var out []object
				for _, a := range [][2]string{
					{"supported-platforms", "VPC"},
					{"default-vpc", vpc},
					{"vpc-max-security-groups-per-interface", "5"},
					{"max-elastic-ips", "5"},
					{"vpc-max-elastic-ips", "5"},
					{"max-instances", "20"},
				} {
					out = append(out, object{"attributeName": a[0], "attributeValueSet": []any{object{"attributeValue": a[1]}}})
				}
				return out, nil
			},
		},
		{
			name: "DescribeTags", set: "tagSet",
			filters: map[string]string{"key": "key", "value": "value", "resource-id": "resourceId", "resource-type": "resourceType"},
			items: func(tx *account.Tx, _ *wire.Request) ([]object, error) {
				var out []object
				for _, t := range taggable {
					for _, r := range tx.List(t.typ) {
						for _, k := range slices.Sorted(maps.Keys(r.Tags)) {
							out = append(out, object{"resourceId": taggedID(r), "resourceType": t.name, "key": k, "value": r.Tags[k]})
						}
					}
				}
				return out, nil
			},
		},
	}
}
