// `millrace run --watch`: a run on the terminal until it ends.
#include <sys/ioctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "cli/client_api.h"
#include "cli/pipeline_commands.h"
#include "cli/pipeline_tree.h"
#include "json/parse.h"
#include "text/text.h"
#include "text/uri.h"
#include "time/clock.h"

namespace mr::cli {

namespace {

constexpr int kPatience_s = 60;        // for a server that does not answer
constexpr std::size_t kMostLogs = 3;   // of failed steps
constexpr std::size_t kLogLines = 15;  // of each
constexpr std::size_t kLogTail = 16 << 10;

volatile std::sig_atomic_t g_interrupted = 0;
void on_interrupt(int) { g_interrupted = 1; }

// Ctrl-C once ends the watching in words; twice at once.
void take_interrupts() {
  struct sigaction a{};
  a.sa_handler = on_interrupt;
  a.sa_flags = static_cast<int>(SA_RESETHAND);
  ::sigaction(SIGINT, &a, nullptr);
  ::sigaction(SIGTERM, &a, nullptr);
}

// Until the time is over or a signal comes.
void pause_ms(long ms) {
  timespec t{ms / 1000, ms % 1000 * 1'000'000};
  if (g_interrupted == 0) ::nanosleep(&t, nullptr);
}

// Lines that are written over those of before.
class Screen {
 public:
  explicit Screen(bool live) : live_(live) {}
  bool draw(const std::vector<std::string>& lines) {
    std::string out;
    if (drawn_ > 0) out += fmt::format("\x1b[{}A\r", drawn_);
    for (const auto& l : lines) out += l + "\x1b[K\n";
    out += "\x1b[J";
    drawn_ = lines.size();
    return put(out);
  }
  [[nodiscard]] bool live() const { return live_; }
  [[nodiscard]] static Look look() {
    Look l;
    winsize w{};
    if (::ioctl(1, TIOCGWINSZ, &w) == 0 && w.ws_col > 0) l.width = w.ws_col;
    l.height = w.ws_row > 2 ? w.ws_row - 1U : 23;
    const char* no_color = std::getenv("NO_COLOR");
    l.color = no_color == nullptr || *no_color == 0;
    l.now_ms = time::now_ms();
    return l;
  }

 private:
  bool live_;
  std::size_t drawn_ = 0;
};

// `plan`: filled with the first answer; without one, tasks stand as the server lists them.
Result<RunPicture> picture_of(PipelinesApi& api, const std::string& run_id,
                              std::optional<std::shared_ptr<const pipelines::Plan>>& plan) {
  auto path = "/runs/" + text::percent_encode(run_id);
  MR_TRY(auto run, api.get(path));
  if (!plan) plan = plan_of_run(api, run).value_or(nullptr);
  // Only this program's server has it; the details of the run itself tell less.
  auto tasks = api.get(path + "/tasks");
  if (!tasks && tasks.error().code == Code::unavailable) return std::unexpected(tasks.error());
  auto picture = read_run_picture(run, tasks ? *tasks : boost::json::value());
  if (*plan) order_tasks(picture, **plan);
  return picture;
}

// What the steps that failed said last.
void show_logs(PipelinesApi& api, const RunPicture& run) {
  std::set<std::string_view> groups;
  for (const auto& t : run.tasks) groups.insert(t.parent);
  std::size_t shown = 0;
  for (const auto& t : run.tasks) {
    if (t.state != "FAILED" || groups.contains(t.id) || shown == kMostLogs) continue;
    auto log = api.tail(
        fmt::format("/apis/v1alpha1/runs/{}/nodes/{}/log", text::percent_encode(run.id), text::percent_encode(t.id)),
        kLogTail);
    if (!log || text::trim(*log).empty()) continue;
    ++shown;
    auto lines = text::split(text::trim(*log), '\n');
    auto from = lines.size() > kLogLines ? lines.size() - kLogLines : 0;
    std::string out = fmt::format("\nlog of {}{}\n", task_place(run, t),
                                  from > 0 ? fmt::format(", last {} lines", kLogLines) : std::string());
    for (auto i = from; i < lines.size(); ++i) out += "  " + one_line(lines[i], 500) + "\n";
    (void)put(out);
  }
}

}  // namespace

int watch_run(PipelinesApi& api, const std::string& run_id) {
  take_interrupts();
  const char* term = std::getenv("TERM");
  Screen screen(::isatty(1) == 1 && term != nullptr && std::string_view(term) != "dumb");
  RunPicture last;
  std::optional<std::shared_ptr<const pipelines::Plan>> plan;
  bool silent = false;
  auto heard = time::mono_ns();
  for (long wait = 100;;) {
    auto before = time::mono_ns();
    auto now = picture_of(api, run_id, plan);
    if (g_interrupted != 0) {
      fmt::print(stderr,
                 "\nThe run goes on.\n  follow it:  millrace run --follow {}{}\n  end it:     millrace run --terminate "
                 "{}{}\n",
                 run_id, api.flags(), run_id, api.flags());
      return 130;
    }
    if (now) {
      heard = time::mono_ns();
      silent = false;
      bool over = run_is_over(*now);
      if (screen.live()) {
        auto look = Screen::look();
        if (over) look.height = 0;
        if (!screen.draw(run_lines(*now, look))) return 1;
      } else {
        std::string out;
        for (const auto& line : run_changes(last, *now)) out += line + "\n";
        if (!out.empty() && !put(out)) return 1;
      }
      last = std::move(*now);
      if (over) break;
    } else if (now.error().code != Code::unavailable && now.error().code != Code::data_loss) {
      return complain(now.error());
    } else if (time::mono_ns() - heard > std::int64_t{kPatience_s} * 1'000'000'000) {
      return complain(now.error());
    } else if (!std::exchange(silent, true) && !screen.live()) {
      fmt::print(stderr, "the server does not answer; asking again for {} s\n", kPatience_s);
    }
    // Large runs take the server time: it gets three times as long to do its work.
    auto took = (time::mono_ns() - before) / 1'000'000;
    wait =
        std::clamp<long>(std::max<long>(3 * static_cast<long>(took), wait + wait / 8), 100, screen.live() ? 500 : 1000);
    pause_ms(wait);
  }
  if (last.state == "SUCCEEDED") return 0;
  show_logs(api, last);
  return 1;
}

}  // namespace mr::cli
