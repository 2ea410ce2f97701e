// Runs an emitted chip: owns the DRAM, the program memory and the configuration memory, and writes down
// when every command began and ended and how many bytes it moved.
//
// model PROGRAM MEMORY INPUT OUTPUT STAMPS LATENCY BANDWIDTH CONFIG_RATE LIMIT JOBS
//       UNITS [NAME]... LOADS [ADDRESS BYTES]... DUMPS [ADDRESS BYTES]...
//
// LATENCY: cycles from a request to its answer. BANDWIDTH: bytes per cycle; 0 never withholds the ready signal.
// INPUT holds, job after job, the bytes of each load; OUTPUT gets those of each dump. STAMPS gets a line
// "unit start end read written" per command of the first job; bytes read are those of the DRAM, or of the
// configuration memory for the configuration port. Prints one line per job: its cycles, the bytes read from and
// written to DRAM. Exit status: 0; 3 where a job passes LIMIT cycles, 4 where the chip reports an error or leaves
// the memory, 5 for unusable files.
#include "Vmodel.h"
#include "verilated.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

constexpr int kDmaUnit = 0, kConfigUnit = 1;

struct Segment {
  uint64_t address, bytes;
};

struct Traffic {
  uint64_t read = 0, written = 0;
};

[[noreturn]] void fail(int status, const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(status);
}

// A private mapping of a file: writes stay in memory.
uint8_t* map(const char* path, uint64_t& size) {
  const int file = open(path, O_RDONLY);
  struct stat status;
  if (file < 0 || fstat(file, &status) != 0) fail(5, std::string("cannot read ") + path);
  size = status.st_size;
  if (size == 0) return nullptr;
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
  if (data == MAP_FAILED) fail(5, std::string("cannot map ") + path);
  close(file);
  return static_cast<uint8_t*>(data);
}

class Arguments {
 public:
  explicit Arguments(char** first) : next_(first) {}
  const char* text() { return *next_++; }
  uint64_t number() { return std::strtoull(text(), nullptr, 10); }
  double real() { return std::strtod(text(), nullptr); }
  std::vector<std::string> names() {
    std::vector<std::string> result(number());
    for (auto& name : result) name = text();
    return result;
  }
  std::vector<Segment> segments() {
    std::vector<Segment> result(number());
    for (auto& segment : result) {
      segment.address = number();
      segment.bytes = number();
    }
    return result;
  }

 private:
  char** next_;
};

// In-order DRAM: every request is answered once, LATENCY cycles after it moved.
class Dram {
 public:
  Dram(uint8_t* memory, uint64_t size, uint64_t latency, double bandwidth)
      : memory_(memory), size_(size), latency_(std::max<uint64_t>(1, latency)), bandwidth_(bandwidth),
        answers_(latency_ + 1) {}

  void reset() {
    head_ = tail_ = 0;
    credit_ = 0;
    total = {};
  }

  // Before the clock's low phase: ready, and the answer that is due.
  void drive(Vmodel& model, uint64_t cycle) {
    if (bandwidth_ > 0) {  // a request may overdraw the credit; unused credit lasts for one cycle
      credit_ = std::min(credit_ + bandwidth_, bandwidth_);
      model.dram_ready_i = credit_ > 0;
    }
    const Answer& answer = answers_[head_];
    model.dram_valid_i = head_ != tail_ && answer.due == cycle;
    if (!model.dram_valid_i) return;
    if (!answer.write) std::memcpy(&model.dram_data_i, memory_ + answer.address, answer.bytes);
    head_ = next(head_);
  }

  // After the clock's low phase: a request that moves on the coming edge; false where it leaves the memory.
  bool accept(const Vmodel& model, uint64_t cycle) {
    if (!model.dram_valid_o || !model.dram_ready_i) return true;
    const Answer answer{cycle + latency_, model.dram_address_o, model.dram_bytes_o, model.dram_write_o != 0};
    if (answer.address + uint64_t{answer.bytes} > size_) return false;
    if (answer.write) std::memcpy(memory_ + answer.address, &model.dram_data_o, answer.bytes);
    (answer.write ? total.written : total.read) += answer.bytes;
    credit_ -= answer.bytes;
    answers_[tail_] = answer;
    tail_ = next(tail_);
    return true;
  }

  Traffic total;

 private:
  struct Answer {
    uint64_t due;
    uint32_t address;
    uint32_t bytes;
    bool write;
  };

  size_t next(size_t place) const { return place + 1 == answers_.size() ? 0 : place + 1; }

  uint8_t* memory_;
  uint64_t size_, latency_;
  double bandwidth_, credit_ = 0;
  std::vector<Answer> answers_;  // a ring: one request per cycle at most, so LATENCY on their way
  size_t head_ = 0, tail_ = 0;
};

// Configuration memory: streams what was asked for at a fixed rate.
class ConfigPort {
 public:
  explicit ConfigPort(double rate) : rate_(rate) {}

  void drive(Vmodel& model) {
    model.config_valid_i = at_ < cycles_;
    if (!model.config_valid_i) return;
    const uint64_t before = bytes_ * at_ / cycles_;
    at_++;
    model.config_bytes_i = bytes_ * at_ / cycles_ - before;
    total += model.config_bytes_i;
  }

  void accept(const Vmodel& model) {
    if (!model.config_request_o) return;
    bytes_ = model.config_bytes_o;
    cycles_ = std::max<uint64_t>(1, std::llround(bytes_ / rate_));
    at_ = 0;
  }

  uint64_t total = 0;

 private:
  double rate_;
  uint64_t bytes_ = 0, cycles_ = 0, at_ = 0;
};

// When each unit's command began, and what the memories had moved by then.
class Stamps {
 public:
  Stamps(std::FILE* file, size_t units) : file_(file), begun_(units, -1), before_(units) {}

  void note(const Vmodel& model, uint64_t cycle, const Traffic& dram, uint64_t config) {
    uint64_t start = 0, complete = 0;
    std::memcpy(&start, &model.unit_start_o, sizeof(model.unit_start_o));
    std::memcpy(&complete, &model.unit_complete_o, sizeof(model.unit_complete_o));
    if ((start | complete) == 0) return;  // nearly always
    for (size_t unit = 0; unit < begun_.size(); unit++) {
      const Traffic now = unit == kDmaUnit ? dram : Traffic{unit == kConfigUnit ? config : 0, 0};
      const bool starts = start >> unit & 1, completes = complete >> unit & 1, idle = begun_[unit] < 0;
      if (starts && idle) begin(unit, cycle, now);
      if (!completes) continue;
      end(unit, cycle + 1, now);
      if (starts && !idle) begin(unit, cycle, now);
    }
  }

  std::string running(const std::vector<std::string>& names) const {
    std::string result;
    for (size_t unit = 0; unit < names.size(); unit++) {
      if (begun_[unit] >= 0) result += (result.empty() ? "" : ", ") + names[unit];
    }
    return result.empty() ? "no unit" : result;
  }

 private:
  void begin(size_t unit, uint64_t cycle, const Traffic& now) {
    begun_[unit] = cycle;
    before_[unit] = now;
  }

  void end(size_t unit, uint64_t cycle, const Traffic& now) {
    if (file_) {
      std::fprintf(file_, "%zu %lld %llu %llu %llu\n", unit, static_cast<long long>(begun_[unit]),
                   static_cast<unsigned long long>(cycle),
                   static_cast<unsigned long long>(now.read - before_[unit].read),
                   static_cast<unsigned long long>(now.written - before_[unit].written));
    }
    begun_[unit] = -1;
  }

  std::FILE* file_;
  std::vector<int64_t> begun_;
  std::vector<Traffic> before_;
};

void reset(Vmodel& model) {
  model.dram_ready_i = 1;
  model.dram_valid_i = 0;
  model.config_valid_i = 0;
  model.rst_ni = 0;
  for (int i = 0; i < 4; i++) {
    model.clk_i = i & 1;
    model.eval();
  }
  model.rst_ni = 1;
}

}  // namespace

int main(int, char** argv) {
  Arguments arguments(argv + 1);
  uint64_t program_bytes, memory_bytes, input_bytes;
  const auto* program = reinterpret_cast<const uint64_t*>(map(arguments.text(), program_bytes));
  const uint64_t program_words = program_bytes / sizeof(uint64_t);
  uint8_t* memory = map(arguments.text(), memory_bytes);
  const uint8_t* next_input = map(arguments.text(), input_bytes);
  std::FILE* output = std::fopen(arguments.text(), "wb");
  std::FILE* stamp_file = std::fopen(arguments.text(), "w");
  if (!output || !stamp_file) fail(5, "cannot write the results");
  const uint64_t latency = arguments.number();
  const double bandwidth = arguments.real();
  Dram dram(memory, memory_bytes, latency, bandwidth);
  const double config_rate = arguments.real();
  const uint64_t limit = arguments.number();
  const uint64_t jobs = arguments.number();
  const auto units = arguments.names();
  const auto loads = arguments.segments();
  const auto dumps = arguments.segments();

  VerilatedContext context;
  Vmodel model{&context};
  for (uint64_t job = 0; job < jobs; job++) {
    for (const auto& load : loads) {
      if (load.address + load.bytes > memory_bytes) fail(5, "an input lies outside of the memory");
      std::memcpy(memory + load.address, next_input, load.bytes);
      next_input += load.bytes;
    }
    Stamps stamps(job == 0 ? stamp_file : nullptr, units.size());
    ConfigPort config(config_rate);
    dram.reset();
    reset(model);
    uint64_t cycle = 0;
    const auto stop = [&](int status, const std::string& what) {
      fail(status, what + " in cycle " + std::to_string(cycle) + " of job " + std::to_string(job) +
                       " (running: " + stamps.running(units) + ")");
    };
    for (;; cycle++) {
      const uint64_t word = model.program_address_o;
      model.program_i = word < program_words ? program[word] : 0;
      dram.drive(model, cycle);
      config.drive(model);
      model.clk_i = 0;
      model.eval();
      stamps.note(model, cycle, dram.total, config.total);
      if (model.error_o) stop(4, "the chip reports an error");
      if (!dram.accept(model, cycle)) stop(4, "the chip leaves the memory");
      config.accept(model);
      if (model.over_o) break;
      if (cycle >= limit) stop(3, "the limit is passed");
      model.clk_i = 1;
      model.eval();
    }
    for (const auto& dump : dumps) std::fwrite(memory + dump.address, 1, dump.bytes, output);
    std::printf("%llu %llu %llu\n", static_cast<unsigned long long>(cycle),
                static_cast<unsigned long long>(dram.total.read),
                static_cast<unsigned long long>(dram.total.written));
    std::fflush(stdout);
  }
  model.final();
  return std::fclose(output) || std::fclose(stamp_file) ? 5 : 0;
}
