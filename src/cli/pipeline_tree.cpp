#include "cli/pipeline_tree.h"

#include "json/parse.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::cli {

namespace {

using boost::json::value;

constexpr std::size_t kAlike = 20;  // members of a group that are drawn one by one when there is room

// --- characters ---

std::uint32_t next_point(std::string_view s, std::size_t& at) {
  auto c = static_cast<unsigned char>(s[at]);
  std::size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
  n = std::min(n, s.size() - at);
  std::uint32_t p = n == 1 ? c : c & (0xffU >> (n + 1));
  for (std::size_t i = 1; i < n; ++i) p = p << 6 | (static_cast<unsigned char>(s[at + i]) & 0x3fU);
  at += n;
  return p;
}

// Columns that a character takes: wide ones two, marks that join none.
std::size_t columns_of(std::uint32_t p) {
  if ((p >= 0x300 && p <= 0x36f) || (p >= 0x200b && p <= 0x200f) || (p >= 0xfe00 && p <= 0xfe0f)) return 0;
  bool wide = (p >= 0x1100 && p <= 0x115f) || (p >= 0x2e80 && p <= 0xa4cf) || (p >= 0xac00 && p <= 0xd7a3) ||
              (p >= 0xf900 && p <= 0xfaff) || (p >= 0xfe30 && p <= 0xfe6f) || (p >= 0xff00 && p <= 0xff60) ||
              (p >= 0x1f300 && p <= 0x1faff) || (p >= 0x20000 && p <= 0x3fffd);
  return wide ? 2 : 1;
}

std::size_t width_of(std::string_view s) {
  std::size_t n = 0;
  for (std::size_t at = 0; at < s.size();) n += columns_of(next_point(s, at));
  return n;
}

void add_lines(const Branch& b, const std::string& before, bool last, bool framed, std::vector<std::string>& out) {
  out.push_back(framed ? before + (last ? "└─ " : "├─ ") + b.text : b.text);
  auto below = framed ? before + (last ? "   " : "│  ") : before;
  for (const auto& note : b.notes)
    out.push_back(fmt::format("{}{}{}", below, b.children.empty() ? "   " : "│  ", note));
  for (std::size_t i = 0; i < b.children.size(); ++i)
    add_lines(b.children[i], below, i + 1 == b.children.size(), true, out);
}

// --- runs ---

std::int64_t ms_at(const value& v, std::string_view key) {
  auto t = time::parse_rfc3339_ns(json::string_or_empty(v, key));
  return t ? *t / 1'000'000 : 0;
}

std::string duration(std::int64_t ms) {
  auto s = std::max<std::int64_t>(ms, 0) / 1000;
  if (s == 0) return "<1s";
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return fmt::format("{}m{:02}s", s / 60, s % 60);
  return fmt::format("{}h{:02}m", s / 3600, s / 60 % 60);
}

bool over(std::string_view state) {
  return state == "SUCCEEDED" || state == "FAILED" || state == "SKIPPED" || state == "CANCELED";
}

struct Sign {
  std::string_view mark, color, word;
};
Sign sign_of(std::string_view state) {
  if (state == "SUCCEEDED") return {"✓", "32", "succeeded"};
  if (state == "FAILED") return {"✗", "31;1", "failed"};
  if (state == "RUNNING") return {"●", "36;1", "running"};
  if (state == "SKIPPED") return {"–", "2", "skipped"};
  if (state == "CANCELED") return {"■", "33", "canceled"};
  if (state == "CANCELING") return {"■", "33;1", "canceling"};
  return {"○", "2", "pending"};
}

std::string painted(std::string_view text, std::string_view color, const Look& look) {
  if (!look.color || color.empty()) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", color, text);
}

struct Forest {
  const RunPicture& run;
  std::map<std::string_view, std::vector<const TaskPicture*>> children;  // by the parent's id
  std::string_view root;                                                 // the id of the node that is the run
  std::set<std::string_view> busy;  // ids of what is worth a look: a step under way, or one that failed, is in it

  explicit Forest(const RunPicture& r) : run(r) {
    std::set<std::string_view> ids;
    for (const auto& t : r.tasks) ids.insert(t.id);
    for (const auto& t : r.tasks) {
      // The root is the one task without a parent that has children; details of an older server may have none.
      bool known = !t.parent.empty() && ids.contains(t.parent);
      if (!known && t.name == "root" && root.empty())
        root = t.id;
      else
        children[known ? std::string_view(t.parent) : std::string_view()].push_back(&t);
    }
    for (auto t = r.tasks.rbegin(); t != r.tasks.rend(); ++t) {
      bool step = is_leaf(*t) && (t->state == "RUNNING" || t->state == "FAILED" || t->state == "CANCELING");
      if (!step && t->state != "FAILED" && !busy.contains(t->id)) continue;
      busy.insert(t->id);
      busy.insert(t->parent);
    }
  }
  [[nodiscard]] const std::vector<const TaskPicture*>& of(std::string_view id) const {
    static const std::vector<const TaskPicture*> none;
    auto it = children.find(id);
    return it == children.end() ? none : it->second;
  }
  [[nodiscard]] std::vector<const TaskPicture*> top() const {
    auto all = of({});
    if (!root.empty())
      for (const auto* t : of(root)) all.push_back(t);
    return all;
  }
  [[nodiscard]] bool is_leaf(const TaskPicture& t) const { return of(t.id).empty(); }
};

struct Count {
  std::size_t done = 0, all = 0;
};
Count count_leaves(const Forest& f) {
  Count c;
  for (const auto& t : f.run.tasks) {
    if (t.id == f.root || !f.is_leaf(t)) continue;
    ++c.all;
    c.done += over(t.state) ? 1 : 0;
  }
  return c;
}

std::size_t leaves_below(const Forest& f, const TaskPicture& t) {
  if (f.is_leaf(t)) return 1;
  std::size_t n = 0;
  for (const auto* c : f.of(t.id)) n += leaves_below(f, *c);
  return n;
}

std::string label(const TaskPicture& t) {
  return t.iteration >= 0 ? fmt::format("iteration {}", t.iteration) : one_line(t.name, 80);
}

struct Density {
  bool close_finished = false;  // groups that are over, and well, without their members
  std::size_t alike = kAlike;   // more members than this: those that are alike together
  std::size_t busy = SIZE_MAX;  // members of a group that are drawn though it has more
};

Branch branch_of(const Forest& f, const TaskPicture& t, const Look& look, const Density& d, std::size_t column);

void add_members(const Forest& f, const std::vector<const TaskPicture*>& members, const Look& look, const Density& d,
                 std::vector<Branch>& out) {
  std::size_t column = 0;
  for (const auto* m : members) column = std::max(column, width_of(label(*m)));
  column = std::min<std::size_t>(column, 44);
  std::map<std::string_view, std::size_t> together;
  for (const auto* m : members) {
    if (members.size() <= d.alike || (f.busy.contains(m->id) && out.size() < d.busy))
      out.push_back(branch_of(f, *m, look, d, column));
    else
      ++together[f.busy.contains(m->id) || over(m->state) ? sign_of(m->state).word : "waiting"];
  }
  if (together.empty()) return;
  std::string words;
  for (const auto& [word, n] : together) words += fmt::format("{}{} {}", words.empty() ? "" : ", ", n, word);
  out.push_back({painted(fmt::format("… {}{}", words, out.empty() ? "" : " besides"), "2", look), {}, {}});
}

Branch branch_of(const Forest& f, const TaskPicture& t, const Look& look, const Density& d, std::size_t column) {
  auto sign = sign_of(t.state);
  auto name = label(t);
  std::vector<std::string> facts;
  if (t.start_ms != 0 && t.end_ms != 0 && t.state != "SKIPPED")
    facts.push_back(duration(t.end_ms - t.start_ms));
  else if (t.start_ms != 0 && t.state == "RUNNING")
    facts.push_back(duration(look.now_ms - t.start_ms));
  if (t.state == "SKIPPED" || t.state == "CANCELED" || t.state == "CANCELING") facts.emplace_back(sign.word);
  if (!t.cache.empty()) facts.emplace_back("cached");
  if (t.attempts > 1) facts.push_back(fmt::format("attempt {}", t.attempts));
  Branch b;
  const auto& members = f.of(t.id);
  bool closed = d.close_finished && (t.state == "SUCCEEDED" || t.state == "SKIPPED") && !members.empty();
  if (closed) {
    auto n = leaves_below(f, t);
    facts.push_back(fmt::format("{} step{}", n, n == 1 ? "" : "s"));
  }
  std::string tail;
  for (const auto& fact : facts) tail += (tail.empty() ? "" : ", ") + fact;
  b.text = fmt::format("{} {}", painted(sign.mark, sign.color, look), name);
  if (!tail.empty())
    b.text += std::string(column + 2 - std::min(column, width_of(name)), ' ') + painted(tail, "2", look);
  // A group's error repeats that of the member that failed.
  if (!t.error.empty() && t.state == "FAILED" && members.empty())
    b.notes.push_back(painted(one_line(t.error, 400), "31", look));
  if (!t.waiting_for.empty() && !over(t.state))
    b.notes.push_back(painted("waits for " + one_line(t.waiting_for, 400), "33", look));
  if (!closed) add_members(f, members, look, d, b.children);
  return b;
}

std::string head_line(const RunPicture& run, const Forest& f, const Look& look) {
  auto sign = sign_of(run.state);
  auto c = count_leaves(f);
  auto end = run.finished_ms != 0 ? run.finished_ms : look.now_ms;
  std::string bar;
  if (!run_is_over(run) && c.all > 0) {
    constexpr std::size_t kCells = 20;
    auto full = c.done * kCells / c.all;
    for (std::size_t i = 0; i < kCells; ++i) bar += i < full ? "━" : "─";
    bar = "  " + painted(bar, "36", look);
  }
  return fmt::format("{}  {}{}  {}/{} steps  {}", painted(one_line(run.name, 60), "1", look),
                     painted(run.state, sign.color, look), bar, c.done, c.all,
                     run.created_ms == 0 ? std::string() : duration(end - run.created_ms));
}

}  // namespace

std::vector<std::string> branch_lines(const std::vector<Branch>& roots, bool framed) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < roots.size(); ++i) add_lines(roots[i], "", i + 1 == roots.size(), framed, out);
  return out;
}

std::string one_line(std::string_view text, std::size_t most) {
  std::string out;
  std::size_t n = 0;
  for (std::size_t at = 0; at < text.size(); ++n) {
    auto from = at;
    auto p = next_point(text, at);
    if (n == most) return out + "…";
    if (p < 0x20 || (p >= 0x7f && p < 0xa0))
      out += p == '\n' || p == '\t' ? " " : "?";
    else
      out += text.substr(from, at - from);
  }
  return out;
}

std::string cut_to_width(std::string_view line, std::size_t width) {
  std::size_t used = 0, keep = 0;  // keep: the bytes that leave a column for the sign that something is left out
  for (std::size_t at = 0; at < line.size();) {
    if (line[at] == '\x1b') {
      at = std::min(line.find('m', at), line.size() - 1) + 1;
    } else {
      used += columns_of(next_point(line, at));
    }
    if (used + 1 <= width) keep = at;
    if (used > width) return fmt::format("{}…{}", line.substr(0, keep), line.contains('\x1b') ? "\x1b[0m" : "");
  }
  return std::string(line);
}

RunPicture read_run_picture(const value& run, const value& tasks) {
  RunPicture r;
  r.id = json::string_or_empty(run, "run_id");
  r.name = json::string_or_empty(run, "display_name");
  r.state = json::string_or_empty(run, "state");
  r.created_ms = ms_at(run, "created_at");
  r.finished_ms = ms_at(run, "finished_at");
  if (const auto* e = json::find(run, "error")) r.error = json::string_or_empty(*e, "message");
  const auto* list = json::find(tasks, "tasks");
  if (list == nullptr)
    if (const auto* details = json::find(run, "run_details")) list = json::find(*details, "task_details");
  if (list == nullptr || !list->is_array()) return r;
  for (const auto& v : list->get_array()) {
    TaskPicture t;
    t.id = json::string_or_empty(v, "task_id");
    t.parent = json::string_or_empty(v, "parent_task_id");
    t.name = json::string_or_empty(v, "display_name");
    t.state = json::string_or_empty(v, "state");
    t.start_ms = ms_at(v, "start_time");
    t.end_ms = ms_at(v, "end_time");
    if (const auto* e = json::find(v, "error")) t.error = json::string_or_empty(*e, "message");
    if (const auto* more = json::find(v, "more")) {
      t.key = json::string_or_empty(*more, "key");
      t.waiting_for = json::string_or_empty(*more, "waiting_for");
      if (auto note = json::string_or_empty(*more, "cache"); note.starts_with("hit")) t.cache = note;
      if (const auto* i = json::find(*more, "iteration"); i != nullptr && i->is_int64())
        t.iteration = static_cast<int>(i->get_int64());
      if (const auto* a = json::find(*more, "attempts"); a != nullptr && a->is_int64())
        t.attempts = static_cast<int>(a->get_int64());
    }
    r.tasks.push_back(std::move(t));
  }
  return r;
}

void order_tasks(RunPicture& run, const pipelines::Plan& plan) {
  Forest f(run);
  std::vector<const TaskPicture*> out;
  out.reserve(run.tasks.size());
  for (const auto& t : run.tasks)
    if (t.id == f.root) out.push_back(&t);
  auto visit = [&](auto&& self, const std::vector<const TaskPicture*>& members, const pipelines::Component& c) -> void {
    std::map<std::string_view, std::pair<std::size_t, const pipelines::Task*>> ranks;  // by key
    for (std::size_t i = 0; i < c.order.size(); ++i) ranks[c.tasks[c.order[i]].key] = {i, &c.tasks[c.order[i]]};
    std::vector<std::pair<std::size_t, const TaskPicture*>> sorted;
    for (const auto* m : members) {
      auto r = ranks.find(m->key);
      sorted.emplace_back(
          (r == ranks.end() || m->iteration >= 0 ? 0 : r->second.first * members.size()) + sorted.size(), m);
    }
    std::ranges::sort(sorted);
    for (const auto& [_, m] : sorted) {
      out.push_back(m);
      const auto* inner = &c;
      // The members of a loop are its iterations; those of an iteration are the component's.
      if (auto r = ranks.find(m->key); r != ranks.end() && (m->iteration >= 0 || !r->second.second->iterator))
        inner = &plan.components[r->second.second->component];
      self(self, f.of(m->id), *inner);
    }
  };
  visit(visit, f.top(), plan.root_component());
  if (out.size() != run.tasks.size()) return;
  std::vector<TaskPicture> ordered;
  ordered.reserve(out.size());
  for (const auto* t : out) ordered.push_back(*t);
  run.tasks = std::move(ordered);
}

bool run_is_over(const RunPicture& run) { return over(run.state); }

std::vector<std::string> run_lines(const RunPicture& run, const Look& look) {
  Forest f(run);
  std::vector<std::string> out;
  constexpr Density densities[] = {{}, {true}, {true, 3}, {true, 3, 8}, {true, 3, 3}};
  for (const auto& d : densities) {
    std::vector<Branch> top;
    add_members(f, f.top(), look, d, top);
    out = {head_line(run, f, look)};
    for (auto& line : branch_lines(top, true)) out.push_back(std::move(line));
    if (run_is_over(run) && !run.error.empty() && run.state != "SUCCEEDED")
      out.push_back(painted(one_line(run.error, 400), "31", look));
    if (look.height == 0 || out.size() <= look.height) break;
  }
  if (look.height > 1 && out.size() > look.height) {
    auto hidden = out.size() - look.height + 1;
    out.resize(look.height - 1);
    out.push_back(fmt::format("… {} more lines", hidden));
  }
  for (auto& line : out) line = cut_to_width(line, look.width);
  return out;
}

std::string task_place(const RunPicture& run, const TaskPicture& task) {
  std::map<std::string_view, const TaskPicture*> by_id;
  for (const auto& t : run.tasks) by_id[t.id] = &t;
  std::vector<std::string> parts;
  for (const auto* t = &task; t != nullptr && parts.size() < 200;) {
    if (t->parent.empty() && t->name == "root") break;
    parts.push_back(t->iteration >= 0 ? std::to_string(t->iteration) : one_line(t->name, 80));
    auto up = by_id.find(t->parent);
    t = up == by_id.end() ? nullptr : up->second;
  }
  std::string out;
  for (auto it = parts.rbegin(); it != parts.rend(); ++it) out += (out.empty() ? "" : "/") + *it;
  return out;
}

std::vector<std::string> run_changes(const RunPicture& before, const RunPicture& now) {
  struct Was {
    std::string_view state;
    int attempts = 0;
    std::string_view waiting_for;
  };
  std::map<std::string_view, Was> was;
  for (const auto& t : before.tasks) was[t.id] = {t.state, t.attempts, t.waiting_for};
  Forest f(now);
  std::vector<std::string> out;
  for (const auto& t : now.tasks) {
    auto w = was.find(t.id);
    auto old = w == was.end() ? Was{"PENDING", 0, {}} : w->second;
    if (t.id == f.root || t.state == "RUNTIME_STATE_UNSPECIFIED") continue;
    // Of groups only what goes wrong is news; their members tell the rest.
    bool group = !f.is_leaf(t);
    if (group && t.state != "FAILED") continue;
    if (!t.waiting_for.empty() && t.waiting_for != old.waiting_for && !over(t.state))
      out.push_back(fmt::format("{} waits for {}", task_place(now, t), one_line(t.waiting_for, 400)));
    bool again = t.state == "RUNNING" && t.attempts > 1 && t.attempts != old.attempts;
    if (old.state == t.state && !again) continue;
    if (t.state == "PENDING") continue;
    auto line = fmt::format("{} {}", task_place(now, t), sign_of(t.state).word);
    if (again) line += fmt::format(", attempt {}", t.attempts);
    if (!t.cache.empty())
      line += " from the cache";
    else if (over(t.state) && t.start_ms != 0 && t.end_ms != 0 && t.state != "SKIPPED")
      line += fmt::format(" after {}", duration(t.end_ms - t.start_ms));
    if (!t.error.empty() && t.state == "FAILED" && !group) line += ": " + one_line(t.error, 400);
    out.push_back(std::move(line));
  }
  if (before.state != now.state && !now.state.empty() && now.state != "PENDING") {
    auto line = fmt::format("run {}", sign_of(now.state).word);
    if (run_is_over(now) && now.finished_ms != 0 && now.created_ms != 0)
      line += fmt::format(" after {}", duration(now.finished_ms - now.created_ms));
    if (!now.error.empty() && now.state == "FAILED") line += ": " + one_line(now.error, 400);
    out.push_back(std::move(line));
  }
  return out;
}

}  // namespace mr::cli
