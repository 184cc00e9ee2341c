for (const input of document.querySelectorAll(".slider input")) {
  const cut = () => {
    input.parentElement.style.setProperty("--cut", `${input.value}%`);
    input.setAttribute("aria-valuetext", `${input.value} % observed, ${100 - input.value} % product`);
  };
  input.addEventListener("input", cut);
  cut();
}
