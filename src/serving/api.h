// What the program's assembly uses of serving.
#pragma once
#include "http/router.h"
#include "serving/repository.h"

namespace mr::serving {

// The V2 REST routes: /v2, health, metadata, infer, repository.
void add_routes(http::Router& router, Repository& repository);

// All that a server of models alone speaks: V2, V1, MLflow's scoring protocol.
void add_server_routes(http::Router& router, Repository& repository);

// Answers by the router in the style of the protocol's servers: JSON 404 and 405.
http::Handler make_handler(http::Router router);

}  // namespace mr::serving
