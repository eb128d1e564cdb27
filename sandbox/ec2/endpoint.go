package ec2

// PrefixLists are the ids and names of the region's managed prefix lists.
// The ids are those of the sandbox: AWS's differ by region.
func PrefixLists(region string) map[string]string {
	return map[string]string{
		"pl-63a5400a": "com.amazonaws." + region + ".s3",
		"pl-02cd2c6b": "com.amazonaws." + region + ".dynamodb",
	}
}
