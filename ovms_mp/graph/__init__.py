"""The engine: packets and time. It knows no gRPC, no OpenVINO and no Prometheus."""
