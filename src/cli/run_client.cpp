// `millrace get|describe|apply|delete|logs|port-forward`: kubectl's everyday commands for those who have no kubectl.
#include <csignal>

#include "cli/client_commands.h"
#include "cli/commands.h"

namespace mr::cli {

int run_client(const Settings& s) {
  // Ctrl-C ends these commands at once (port-forward takes it for itself); a closed pipe is seen when writing to it.
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  auto api = Api::open(s);
  if (!api) return complain(api.error());
  static const std::map<std::string_view, int (*)(Api&, const ClientSettings&)> commands{
      {"get", client_get},       {"describe", client_describe}, {"apply", client_apply},
      {"delete", client_delete}, {"logs", client_logs},         {"port-forward", client_forward}};
  return commands.at(s.client.verb)(*api, s.client);
}

}  // namespace mr::cli
