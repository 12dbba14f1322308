// Process-wide plumbing that every long-running command shares. Owned by the command's function.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "cli/settings.h"
#include "http/server.h"
#include "task/loop.h"

namespace mr::cli {

// Blocks SIGINT and SIGTERM in every thread made after it; call before any thread is made.
void block_signals();
// Waits for one of them.
int wait_for_signal();

void configure_log(const Settings& s);

// The folder, made with mode 0700, holding the lock that keeps a second process out. Errors say who has it.
Result<Fd> lock_data(const std::string& folder);

// Adds /healthz, /readyz and /metrics in front of `inner`: the one chain that every listener has.
http::Handler with_probes(http::Handler inner);

// Starts listeners, prints their addresses and the ready line, waits for a signal, stops them in turn.
class Listeners {
 public:
  Listeners(const Settings& s, unsigned loops);
  task::Loops& loops() { return loops_; }
  Result<> add(const std::string& name, const std::string& address, int port, http::Handler handler,
               const std::string& purpose);
  // Prints the table and "ready", then blocks until a signal.
  void run();
  void stop();

 private:
  const Settings& settings_;
  task::Loops loops_;
  std::int64_t started_ns_;
  struct Item {
    std::unique_ptr<http::Server> server;
    std::string line;
  };
  std::vector<Item> items_;
};

// Prints the error and gives the process's exit code: 1 for trouble at run time, 2 for wrong settings.
int report(const Error& e);

}  // namespace mr::cli
