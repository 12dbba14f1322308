// A load of a fixed rate, whatever the server does: requests fall due at random moments (a Poisson process) and go out
// on the first connection that is free. The time of each runs from the moment it was due, so what waited behind a slow
// answer counts as slow, too.
//
// usage: paced PORT CONNECTIONS RATE SECONDS FILE    (FILE: the request, head and body; prints one line of JSON)
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

struct Link {
  int fd = -1;
  bool busy = false;
  Clock::time_point due;
  std::string in;
};

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

int dial(int port) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int on = 1;
  if (fd < 0 || ::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) die("connect");
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

// The status once the whole answer is there, else 0. Answers have a Content-Length.
int answered(const std::string& in) {
  auto head = in.find("\r\n\r\n");
  if (head == std::string::npos) return 0;
  std::size_t length = 0;
  for (std::size_t at = in.find("\r\n"); at < head; at = in.find("\r\n", at + 2))
    if (strncasecmp(in.c_str() + at + 2, "content-length:", 15) == 0)
      length = std::strtoull(in.c_str() + at + 17, nullptr, 10);
  return in.size() >= head + 4 + length ? std::atoi(in.c_str() + 9) : 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  const double rate = std::atof(argv[3]);
  std::ifstream file(argv[5], std::ios::binary);
  const std::string request{std::istreambuf_iterator<char>(file), {}};
  ::prctl(PR_SET_TIMERSLACK, 1);  // waits end when they should, not 50 us later
  const int poll = ::epoll_create1(EPOLL_CLOEXEC);
  std::vector<Link> links(std::strtoul(argv[2], nullptr, 10));
  for (std::size_t i = 0; i < links.size(); ++i) {
    links[i].fd = dial(std::atoi(argv[1]));
    epoll_event e{.events = EPOLLIN, .data = {.u64 = i}};
    if (::epoll_ctl(poll, EPOLL_CTL_ADD, links[i].fd, &e) != 0) die("epoll_ctl");
  }
  std::mt19937_64 random(7);
  std::exponential_distribution<double> gap(rate);
  const auto begin = Clock::now();
  const auto end = begin + std::chrono::duration<double>(std::atof(argv[4]));
  const auto given_up = end + std::chrono::seconds(30);
  auto due = begin;
  std::deque<Clock::time_point> waiting;
  std::vector<double> times;
  std::size_t bad = 0;
  std::size_t under_way = 0;
  for (;;) {
    auto now = Clock::now();
    for (; due <= now && due < end; due += std::chrono::nanoseconds(static_cast<std::int64_t>(gap(random) * 1e9)))
      waiting.push_back(due);
    for (auto& link : links) {
      if (waiting.empty()) break;
      if (link.busy) continue;
      link.busy = true;
      link.due = waiting.front();
      waiting.pop_front();
      for (std::size_t sent = 0; sent < request.size();) {
        auto n = ::send(link.fd, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
        if (n <= 0) die("send");
        sent += static_cast<std::size_t>(n);
      }
      ++under_way;
    }
    if (due >= end && under_way == 0 && waiting.empty()) break;
    if (now > given_up) die("answers are missing");
    auto wait = std::clamp<std::chrono::nanoseconds>(due - Clock::now(), std::chrono::nanoseconds(0),
                                                     std::chrono::milliseconds(due < end ? 100 : 1));
    timespec limit{0, static_cast<long>(wait.count())};
    epoll_event events[64];
    const int n = ::epoll_pwait2(poll, events, 64, &limit, nullptr);
    for (int i = 0; i < n; ++i) {
      auto& link = links[events[i].data.u64];
      char piece[65536];
      auto got = ::recv(link.fd, piece, sizeof piece, 0);
      if (got <= 0) die("recv");
      link.in.append(piece, static_cast<std::size_t>(got));
      if (int status = answered(link.in)) {
        times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - link.due).count());
        bad += status != 200;
        link.in.clear();
        link.busy = false;
        --under_way;
      }
    }
  }
  if (times.empty()) return 1;
  std::ranges::sort(times);
  auto at = [&](double share) {
    return times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1))];
  };
  std::printf(R"({"requests": %zu, "bad_status": %zu, "p50_ms": %.4f, "p99_ms": %.4f, "p999_ms": %.4f, "max_ms": %.4f})"
              "\n",
              times.size(), bad, at(0.5), at(0.99), at(0.999), times.back());
}
