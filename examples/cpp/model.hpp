// A bundle as a C++ class that owns its memory and its threads.
#pragma once

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace edgeinfer {

// The C functions of one bundle; EDGEINFER_FUNCTIONS(multistyle26) for example.
struct Functions {
    std::size_t (*memory_size)(int threads);
    int (*init)(void *block, std::size_t size, int threads);
    int (*run)(void *block, const void *const *inputs, void *const *outputs);
    int (*work)(void *block, int worker);
    int (*stop)(void *block);
    const edgeinfer_tensor *(*input)(int index);
    const edgeinfer_tensor *(*output)(int index);
};

#define EDGEINFER_FUNCTIONS(name)                                                                               \
    edgeinfer::Functions {                                                                                      \
        name##_memory_size, name##_init, name##_run, name##_work, name##_stop, name##_input, name##_output      \
    }

class Error : public std::runtime_error {
  public:
    Error(const std::string &what, int status) : std::runtime_error(what), status(status) {}
    const int status;
};

// A model that runs; one caller at a time.
class Model {
  public:
    explicit Model(const Functions &functions, int threads = 1) : functions_(functions) {
        const std::size_t size = functions.memory_size(threads);
        block_.reset(new unsigned char[size ? size : 1]);
        check(functions.init(block_.get(), size, threads), "init");
        try {
            for (int index = 1; index < threads; index++)
                workers_.emplace_back(functions.work, block_.get(), index);
        } catch (...) {
            stop();
            throw;
        }
    }

    ~Model() { stop(); }

    Model(const Model &) = delete;
    Model &operator=(const Model &) = delete;

    const edgeinfer_tensor &input(int index) const { return known(functions_.input(index)); }
    const edgeinfer_tensor &output(int index) const { return known(functions_.output(index)); }

    // Computes the outputs; each array has the size that input() and output() tell.
    void run(const std::vector<const void *> &inputs, const std::vector<void *> &outputs) {
        if (functions_.input(static_cast<int>(inputs.size())) || functions_.output(static_cast<int>(outputs.size())))
            throw std::invalid_argument("an array is missing");
        check(functions_.run(block_.get(), inputs.data(), outputs.data()), "run");
    }

  private:
    static const edgeinfer_tensor &known(const edgeinfer_tensor *tensor) {
        if (!tensor)
            throw std::out_of_range("the model has no such input or output");
        return *tensor;
    }

    static void check(int status, const char *verb) {
        if (status != EDGEINFER_OK)
            throw Error(std::string("edgeinfer: ") + verb + " failed with status " + std::to_string(status), status);
    }

    void stop() {
        functions_.stop(block_.get());
        for (std::thread &worker : workers_)
            worker.join();
        workers_.clear();
    }

    Functions functions_;
    std::unique_ptr<unsigned char[]> block_;
    std::vector<std::thread> workers_;
};

}  // namespace edgeinfer
