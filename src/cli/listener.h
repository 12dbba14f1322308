// Process-wide plumbing that every long-running command shares. Owned by the command's function.
#pragma once
#include <atomic>
#include <functional>
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

// Whether the process should be sent work: not before it has started, not while it stops, not when one of its checks
// fails. Shared by its listeners. Thread safe, but for `checks`, which are complete before it is first `ready`.
struct Readiness {
  std::atomic<const char*> why_not = "starting";                          // null: ready, as far as the checks agree
  std::vector<std::pair<std::string, std::function<Result<>()>>> checks;  // short: they run on a loop
};
// Adds /healthz (alive), /readyz (ready, else 503 with the reason) and /metrics in front of `inner`: the one chain that
// every listener has.
// `ok`: what a probe that passes answers.
http::Handler with_probes(http::Handler inner, std::shared_ptr<const Readiness> readiness, std::string ok = "ok\n");
// The folder can be written and its disk is not full.
Result<> check_disk(const std::string& folder);

// Starts listeners, prints their addresses and the ready line, waits for a signal, stops them in turn.
class Listeners {
 public:
  Listeners(const Settings& s, unsigned loops);
  task::Loops& loops() { return loops_; }
  Result<> add(const std::string& name, const std::string& address, int port, http::Handler handler,
               const std::string& purpose, std::shared_ptr<const http::TlsContext> tls = nullptr,
               http::TakeOver http2 = {});
  // Something else that listens: its line in the table, and what stops it. Before run().
  void also(const std::string& name, const std::string& address, const std::string& purpose,
            std::function<void(int grace_s)> stop);
  // A condition of /readyz; before run().
  void check(std::string name, std::function<Result<>()> passes) {
    readiness_->checks.emplace_back(std::move(name), std::move(passes));
  }
  // Prints the table and "ready", then blocks until a signal. `before_stop` runs when it came.
  void run(const std::function<void()>& before_stop = {});
  void stop();

 private:
  const Settings& settings_;
  task::Loops loops_;
  std::int64_t started_ns_;
  struct Item {
    std::unique_ptr<http::Server> server;
    std::string line;
    std::function<void(int)> stop;  // of what is no http::Server
  };
  std::vector<Item> items_;
  std::shared_ptr<Readiness> readiness_ = std::make_shared<Readiness>();
};

// Prints the error and gives the process's exit code: 1 for trouble at run time, 2 for wrong settings.
int report(const Error& e);

}  // namespace mr::cli
