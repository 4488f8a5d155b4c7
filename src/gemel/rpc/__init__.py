"""The API over gRPC: ingest, read, subscribe. Needs the extra gemel[grpc]; proto/gemel.proto is its contract."""
