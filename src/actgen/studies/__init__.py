"""Many runs or many generators compared: `bench` and `probe`."""
