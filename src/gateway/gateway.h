// The front door: decides by the tables where a request goes, and carries it there and the answer back.
// First the rules of the mesh, then what this program answers itself.
// Ownership: everything named in GatewayDeps must outlive the handler; the handler itself goes after the loops that it
// ran on have stopped and before they go (its kept connections live on them). Thread safe.
#pragma once
#include <functional>
#include <memory>

#include "http/message.h"
#include "mesh/route_table.h"
#include "services/demand.h"
#include "services/directory.h"

namespace mr::gateway {

struct GatewayDeps {
  std::function<std::shared_ptr<const mesh::RouteTable>()> table;  // empty: no rules
  const services::Directory* directory = nullptr;
  const services::Demand* demand = nullptr;  // may be null
  http::Handler fallback;                    // may be empty: 404
};

http::Handler make_gateway(GatewayDeps deps);

}  // namespace mr::gateway
