#include "node/environments.h"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>

#include "core/read_file.h"
#include "crypto/digest.h"
#include "crypto/random.h"
#include "node/process.h"
#include "task/event.h"
#include "text/text.h"

extern char** environ;

namespace mr::node {

namespace fs = std::filesystem;

// Those who wait for an environment that another pod has begun.
struct Environments::Making {
  std::vector<std::coroutine_handle<>> waiting;
  Result<void> result;
  bool done = false;
  auto wait() {
    struct Awaiter {
      Making& m;
      bool await_ready() const { return m.done; }
      void await_suspend(std::coroutine_handle<> h) { m.waiting.push_back(h); }
      void await_resume() const {}
    };
    return Awaiter{*this};
  }
};

namespace {

// A requirement that is installed without what it depends on, as pip's --no-deps does.
constexpr std::string_view kNoDeps = "#no-deps ";
// A version that is taken where the package is wanted.
constexpr std::string_view kConstraint = "#constraint ";

std::string find_uv() {
  std::vector<std::string> folders;
  if (const char* home = ::getenv("HOME"))
    for (auto sub : {"/.local/bin", "/.cargo/bin"}) folders.push_back(std::string(home) + sub);
  if (const char* path = ::getenv("PATH"))
    for (auto p : text::split(path, ':')) folders.emplace_back(p);
  for (const auto& f : folders)
    if (auto full = f + "/uv"; !f.empty() && ::access(full.c_str(), X_OK) == 0) return full;
  return {};
}

// What uv says went wrong, and the end of its output, where a build's own error stands.
std::string told_by(const std::string& file) {
  constexpr std::size_t kHead = 600, kTail = 1000;
  auto all = read_or_empty(file, std::size_t{16} << 20);
  if (all.size() <= kHead + kTail) return std::string(text::trim(all));
  auto tail = std::string_view(all).substr(all.size() - kTail);
  while (!tail.empty() && (static_cast<unsigned char>(tail[0]) & 0xC0) == 0x80) tail.remove_prefix(1);
  auto at = all.find("\u00d7 ");  // the line that names the package
  if (at == std::string::npos) at = all.find("error: ");
  if (at == std::string::npos || at >= all.size() - kTail) return std::string(text::trim(tail));
  auto head = text::utf8_prefix(std::string_view(all).substr(at), kHead);
  return fmt::format("{}\n...\n{}", text::trim(head), text::trim(tail));
}

// A command's exit code, its output in `log`.
task::Task<Result<int>> run_command(std::vector<std::string> argv, std::string log) {
  Fd out(::open(log.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0640));
  SpawnOptions o;
  o.argv = std::move(argv);
  for (char** e = environ; *e != nullptr; ++e) o.env.emplace_back(*e);
  o.out = o.err = out.get();
  task::Event over;
  int status = 0;
  auto process = Process::start(o, [&](int s) {
    status = s;
    over.set();
  });
  if (!process) co_return std::unexpected(process.error());
  co_await over.wait();
  co_return exit_code(status);
}

}  // namespace

std::string Environments::path(const Interpreter& python, const std::string& requirements) const {
  auto key = crypto::digest(crypto::Algorithm::sha256, python.path + "\n" + requirements);
  return folder_ + "/" + text::hex(key).substr(0, 24);
}

bool Environments::ready(const Interpreter& python, const std::string& requirements) const {
  return ::access((path(python, requirements) + "/.complete").c_str(), F_OK) == 0;
}

task::Task<Result<std::string>> Environments::get(Interpreter python, std::string requirements) {
  auto where = path(python, requirements);
  if (ready(python, requirements)) co_return where;
  auto& slot = making_[where];
  if (slot) {
    auto making = slot;
    co_await making->wait();
    if (!making->result) co_return std::unexpected(making->result.error());
    co_return where;
  }
  slot = std::make_shared<Making>();
  auto making = slot;
  making->result = co_await make(std::move(python), std::move(requirements), where);
  making->done = true;
  making_.erase(where);
  for (auto h : making->waiting) task::resume_later(h);
  if (!making->result) co_return std::unexpected(making->result.error());
  co_return where;
}

task::Task<Result<void>> Environments::make(Interpreter python, std::string requirements, std::string where) {
  auto uv = find_uv();
  if (uv.empty())
    co_return fail(Code::unavailable,
                   "an environment of packages is made by uv, which is not on this machine: install it",
                   "ErrImagePull");
  std::error_code ec;
  fs::remove_all(where, ec);  // of an attempt that did not end
  fs::create_directories(folder_, ec);
  auto list = where + ".txt", log = where + ".log", constraints = where + ".constraints.txt";
  std::vector<std::string> alone;  // packages that bring nothing else along
  bool any = false, constrained = false;
  {
    std::ofstream out(list), versions(constraints);
    for (auto line : text::split(requirements, '\n')) {
      if (line.starts_with(kNoDeps)) {
        alone.emplace_back(text::trim(line.substr(kNoDeps.size())));
        continue;
      }
      if (line.starts_with(kConstraint)) {
        versions << line.substr(kConstraint.size()) << '\n';
        constrained = true;
        continue;
      }
      any |= !text::trim(line).empty();
      out << line << '\n';
    }
  }
  fs::remove(log, ec);
  // Pods see the environment read-only: what is not compiled now would be compiled by each of them, at every import.
  auto made = co_await run_command({uv, "venv", "--quiet", "--no-project", "--python", python.path, where}, log);
  if (!made) co_return std::unexpected(made.error());
  if (*made == 0 && any) {
    std::vector<std::string> argv{
        uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", where + "/bin/python", "-r", list};
    if (constrained) argv.insert(argv.end(), {"-c", constraints});
    made = co_await run_command(std::move(argv), log);
  }
  if (!made) co_return std::unexpected(made.error());
  if (*made == 0 && !alone.empty()) {
    std::vector<std::string> argv{
        uv, "pip", "install", "--quiet", "--compile-bytecode", "--no-deps", "--python", where + "/bin/python"};
    // One that begins with a dash would be read as an option of uv.
    std::ranges::copy_if(alone, std::back_inserter(argv), [](const auto& a) { return !a.empty() && a[0] != '-'; });
    made = co_await run_command(std::move(argv), log);
    if (!made) co_return std::unexpected(made.error());
  }
  if (*made != 0)
    co_return fail(Code::unavailable, "uv could not install the requirements: " + told_by(log), "ErrImagePull");
  std::ofstream(where + "/.complete") << requirements;
  co_return Result<void>{};
}

}  // namespace mr::node
