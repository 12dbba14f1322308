// One call of grpc.health.v1.Health/Check over a fresh connection: as much HTTP/2 as that takes.
#pragma once
#include <memory>
#include <string>

#include "http/byte_stream.h"

namespace mr::node {

// Done when the service says SERVING; the errors' texts are the kubelet's.
task::Task<Result<void>> grpc_health(std::unique_ptr<http::ByteStream> stream, std::string service, long timeout_ms);

}  // namespace mr::node
