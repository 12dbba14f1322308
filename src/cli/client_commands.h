// The client commands; each returns the process's exit code. They ask the API of a kubeconfig and keep nothing.
#pragma once
#include "cli/client_api.h"

namespace mr::cli {

int client_get(Api& api, const ClientSettings& k);
int client_describe(Api& api, const ClientSettings& k);
int client_apply(Api& api, const ClientSettings& k);
int client_delete(Api& api, const ClientSettings& k);
int client_logs(Api& api, const ClientSettings& k);
int client_forward(Api& api, const ClientSettings& k);

}  // namespace mr::cli
