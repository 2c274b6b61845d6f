// A bundle for wasm32 as a JavaScript class.

const ALIGNMENT = 64;
const PAGE = 65536;
const STATUS = ["done", "an array is missing", "too little memory", "no such number of threads", "not ready"];
// EDGEINFER_FLOAT32 and so on of the header, as far as JavaScript has arrays for them.
const ARRAYS = { 1: Float32Array, 4: Float64Array, 7: Int8Array, 8: Uint8Array, 9: Int16Array, 10: Uint16Array,
                 11: Int32Array, 12: Uint32Array, 13: BigInt64Array, 14: BigUint64Array, 15: Uint8Array };

export class Bundle {
  // Fetches and compiles NAME.wasm.
  static async load(url, name) {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
    const { instance } = await WebAssembly.instantiate(await response.arrayBuffer(), {});
    return new Bundle(instance, name);
  }

  constructor(instance, name) {
    this.call = (verb, ...parameters) => instance.exports[`${name}_${verb}`](...parameters);
    this.memory = instance.exports.memory;
    const inputs = this.describe("input");
    const outputs = this.describe("output");
    const tensors = [...inputs, ...outputs];
    const size = this.call("memory_size", 1);
    const wanted = tensors.reduce((sum, tensor) => sum + tensor.bytes + ALIGNMENT, size + 4 * tensors.length + ALIGNMENT);
    let next = this.memory.buffer.byteLength;
    this.memory.grow(Math.ceil(wanted / PAGE));
    const take = (bytes) => {
      const start = next;
      next = Math.ceil((next + bytes) / ALIGNMENT) * ALIGNMENT;
      return start;
    };
    this.block = take(size);
    this.inputTable = take(4 * tensors.length);
    this.outputTable = this.inputTable + 4 * inputs.length;
    const addresses = tensors.map((tensor) => take(tensor.bytes));
    new Uint32Array(this.memory.buffer).set(addresses, this.inputTable / 4);
    const arrays = tensors.map((tensor, index) => this.view(tensor, addresses[index]));
    // Arrays by name: write into inputs, call run, read outputs.
    this.inputs = Object.fromEntries(inputs.map((tensor, index) => [tensor.name, arrays[index]]));
    this.outputs = Object.fromEntries(outputs.map((tensor, index) => [tensor.name, arrays[inputs.length + index]]));
    this.shapes = Object.fromEntries(tensors.map((tensor) => [tensor.name, tensor.shape]));
    this.check("init", this.call("init", this.block, size, 1));
  }

  run() {
    this.check("run", this.call("run", this.block, this.inputTable, this.outputTable));
  }

  check(verb, status) {
    if (status) throw new Error(`${verb}: ${STATUS[status] ?? status}`);
  }

  view(tensor, address) {
    const type = ARRAYS[tensor.dtype];
    if (!type) throw new Error(`${tensor.name}: JavaScript has no array for its elements`);
    return new type(this.memory.buffer, address, tensor.bytes / type.BYTES_PER_ELEMENT);
  }

  // The edgeinfer_tensor records of all inputs or outputs.
  describe(kind) {
    const data = new DataView(this.memory.buffer);
    const bytes = new Uint8Array(this.memory.buffer);
    const tensors = [];
    for (let at; (at = this.call(kind, tensors.length)) !== 0; ) {
      const name = data.getUint32(at, true);
      const rank = data.getInt32(at + 8, true);
      const dim = (axis) => Number(data.getBigInt64(at + 16 + 8 * axis, true));
      tensors.push({
        name: new TextDecoder().decode(bytes.subarray(name, bytes.indexOf(0, name))),
        dtype: data.getInt32(at + 4, true),
        shape: Array.from({ length: rank }, (_, axis) => dim(axis)),
        bytes: Number(data.getBigInt64(at + 80, true)),
      });
    }
    return tensors;
  }
}
