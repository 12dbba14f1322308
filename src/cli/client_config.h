// A kubeconfig as the client commands need it: one server and who we are there. Plain values.
#pragma once
#include <string>
#include <vector>

#include "core/error.h"
#include "http/client_tls.h"

namespace mr::cli {

struct Access {
  std::string server;  // https://host:port, no slash at the end
  std::string ns;      // the context's namespace, else "default"
  std::string token;
  http::ClientTls tls;
};

// The current context of these files, of which the first that says a thing wins (as the KUBECONFIG variable has it).
// Errors: failed_precondition (no such file), invalid_argument (no kubeconfig, or an entry is missing).
Result<Access> read_access(const std::vector<std::string>& files);

}  // namespace mr::cli
