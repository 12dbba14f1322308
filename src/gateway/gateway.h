// The front door: decides by the tables where a request goes, and carries it there and the answer back.
// First the rules of the mesh, then what this program answers itself.
// Ownership: everything named in GatewayDeps must outlive the handler; the handler itself goes after the loops that it
// ran on have stopped and before they go (its kept connections live on them). Thread safe.
#pragma once
#include <functional>
#include <memory>

#include "http/message.h"
#include "http/server.h"
#include "mesh/route_table.h"
#include "services/demand.h"
#include "services/directory.h"

namespace mr::gateway {

struct GatewayDeps {
  std::function<std::shared_ptr<const mesh::RouteTable>()> table;  // empty: no rules
  const services::Directory* directory = nullptr;
  const services::Demand* demand = nullptr;  // may be null
  http::Handler fallback;                    // may be empty: 404
  // The gRPC server for calls that no rule takes; port 0: none.
  std::string grpc_address = "127.0.0.1";
  std::uint16_t grpc_port = 0;
};

http::Handler make_gateway(GatewayDeps deps);
// The same for connections of HTTP/2 in cleartext, which carry gRPC.
http::TakeOver make_http2(GatewayDeps deps);

}  // namespace mr::gateway
