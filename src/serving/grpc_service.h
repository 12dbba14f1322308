// The V2 protocol over gRPC: service inference.GRPCInferenceService, with MLServer's repository calls and Triton's
// statistics. Thread safe.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "grpc/server.h"
#include "serving/repository.h"

namespace mr::serving {

// Methods that the handler knows.
std::vector<std::string> grpc_methods();
grpc::Handler make_grpc_handler(Repository& repository);

// A server of these, not yet started. `max_message`: 0 is the default. The repository and the loops must outlive it.
std::unique_ptr<grpc::Server> make_grpc_server(task::Loops& loops, Repository& repository, const std::string& address,
                                               std::uint16_t port, std::size_t max_message = 0,
                                               std::shared_ptr<const http::TlsContext> tls = nullptr);

}  // namespace mr::serving
