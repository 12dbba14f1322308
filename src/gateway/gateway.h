// The front door: decides by the tables where a request goes, and carries it there and the answer back.
// In this order: hosts that rooms have published (Routes), rules of the mesh, paths that rooms have published, and what
// this program answers itself.
// Ownership: everything named in GatewayDeps must outlive the handler. Thread safe.
#pragma once
#include <functional>
#include <memory>

#include "gateway/api.h"
#include "http/message.h"
#include "mesh/route_table.h"
#include "services/directory.h"

namespace mr::gateway {

struct GatewayDeps {
  std::function<std::shared_ptr<const mesh::RouteTable>()> table;  // empty: no rules
  const services::Directory* directory = nullptr;
  const Routes* routes = nullptr;  // may be null
  http::Handler fallback;          // may be empty: 404
};

http::Handler make_gateway(GatewayDeps deps);

}  // namespace mr::gateway
