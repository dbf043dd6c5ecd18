"""Studies that outlive the process: an SQLite index and safetensors files in one folder."""
